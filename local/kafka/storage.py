"""A broker on disk: its configuration, and its storage, formatted once."""

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from local.errors import KafkaUnavailableError
from local.kafka.java import find_java
from local.kafka.node import ENVIRONMENT, LOG_CONFIGURATION, Node, Ports, server_properties
from local.progress import Say, quiet

FORMAT_TIMEOUT_SECONDS = 60.0
ALONE: Mapping[str, object] = MappingProxyType({})


def prepare(
    folder: Path,
    ports: Ports,
    *,
    lib: Path,
    say: Say = quiet,
    node_id: int = 1,
    more: Mapping[str, object] = ALONE,
) -> Node:
    """Write the configuration of a broker and format what is not formatted yet. Data that is there stays.

    Args:
        folder: belongs to this cluster alone.
        ports: where it listens.
        lib: what `jars.ensure_jars` returned.
        say: told when storage is formatted (0.7 s).
        node_id: see `Node`, as `more`.
        more: the same for all nodes of a cluster.

    Raises:
        KafkaUnavailableError: Java is missing or too old, or the storage belongs to another cluster.
    """
    folder, java = folder.absolute(), find_java()
    folder.mkdir(parents=True, exist_ok=True)
    node = Node(_cluster_id(folder), ports, folder / f"node-{node_id}", lib.absolute(), java, node_id, more)
    node.folder.mkdir(exist_ok=True)
    node.properties.write_text(server_properties(node), "ascii")
    node.log_configuration.write_text(LOG_CONFIGURATION, "ascii")
    if not (node.data / "meta.properties").exists():
        say("Préparation du stockage de Kafka…")
        _format(node)
    return node


def new_cluster_id() -> str:
    """Make up a cluster id, in the form that Kafka wants: 16 bytes, URL-safe base64, no padding.

    It never begins with a dash: Kafka's own tool would take it for an option.
    """
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii")).startswith("-"):
        pass
    return made


def _format(node: Node) -> None:
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(  # noqa: S603 - our own command line
        node.format_argv, env=environment, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        raise KafkaUnavailableError(
            f"Kafka could not format {node.data}: {(done.stderr or done.stdout).strip()} "
            f"Remove {node.folder} to start from nothing."
        )


def _cluster_id(folder: Path) -> str:
    kept = folder / "cluster-id"
    if not kept.exists():
        kept.write_text(new_cluster_id(), "ascii")
    return kept.read_text("ascii")

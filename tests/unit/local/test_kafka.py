"""The local Kafka, before it runs: what it needs, what it is told, and what is said where it cannot run."""

import re
import shutil
from pathlib import Path

import pytest

from local.errors import KafkaUnavailableError
from local.kafka.jars import ensure_jars
from local.kafka.java import find_java, java_version
from local.kafka.node import Node, Ports, server_properties
from local.kafka.storage import new_cluster_id


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    ids = [new_cluster_id() for _ in range(2000)]
    assert {len(one) for one in ids} == {22}
    assert not any(one.startswith("-") for one in ids)


def test_without_java_or_maven_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaUnavailableError, match=r"`java` was not found\. Install them, or run without BUS=kafka"):
        find_java()
    with pytest.raises(KafkaUnavailableError, match="`mvn` was not found"):
        ensure_jars(tmp_path / "lib")


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert shutil.which("java") == str(java)
    with pytest.raises(KafkaUnavailableError, match=r"is version 11\. Install Java 17"):
        find_java()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_292"', 8),
        ('openjdk version "26-ea"', 26),
        ("not Java at all", None),
    ],
)
def test_the_version_of_java_is_read_as_each_release_writes_it(text: str, version: int | None) -> None:
    assert java_version(text) == version


def test_a_node_alone_keeps_one_copy_and_listens_on_this_machine_only() -> None:
    text = server_properties(Node(new_cluster_id(), Ports(20_001, 21_001), Path("/srv/été"), Path("/srv/lib")))
    assert "\ncontroller.quorum.voters=1@127.0.0.1:21001\n" in text
    assert "\ndefault.replication.factor=1\nmin.insync.replicas=1\n" in text
    assert "\nlog.dirs=/srv/\\u00e9t\\u00e9/data\n" in text
    assert "0.0.0.0" not in text  # noqa: S104 - that is the point


def test_what_a_cluster_says_otherwise_replaces_what_a_node_alone_says() -> None:
    node = Node("id", Ports(1, 2), Path("/srv"), Path("/lib"), node_id=3, more={"min.insync.replicas": 2})
    assert re.findall(r"^min\.insync\.replicas=(.*)$", server_properties(node), re.MULTILINE) == ["2"]

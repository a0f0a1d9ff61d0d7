"""One broker, as text and as commands."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Java names its files in the encoding of the locale; without this a folder called "données" is not found.
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C.UTF-8"}

LOG_CONFIGURATION = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:heliotrope.broker.log}
appender.file.filePattern = ${sys:heliotrope.broker.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
logger.network.name = org.apache.kafka.clients.NetworkClient
logger.network.level = error
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True)
class Ports:
    """Where one node listens on 127.0.0.1: for clients, and for the controllers."""

    client: int
    controller: int


@dataclass(frozen=True)
class Node:
    """One broker; ready to run, by us or by a supervisor, once `storage.prepare` has been there.

    Attributes:
        cluster_id: 16 bytes in URL-safe base64.
        folder: holds its configuration, its data and its logs, ``broker.log`` first of all; absolute.
        lib: what `jars.ensure_jars` returned.
        node_id: which one it is of a cluster of several.
        more: what such a cluster says otherwise than `server_properties`.
    """

    cluster_id: str
    ports: Ports
    folder: Path
    lib: Path
    java: str = "java"
    node_id: int = 1
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Where the topics are kept."""
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        """The file that holds `server_properties`."""
        return self.folder / "server.properties"

    @property
    def log_configuration(self) -> Path:
        """The file that holds `LOG_CONFIGURATION`."""
        return self.folder / "log4j2.properties"

    @property
    def argv(self) -> list[str]:
        """Runs the broker in the foreground, with `ENVIRONMENT`; SIGTERM stops it cleanly."""
        options = ["-Xmx512m", "-XX:+ExitOnOutOfMemoryError"]
        return self._java(options, "broker.log", "kafka.Kafka", str(self.properties))

    @property
    def format_argv(self) -> list[str]:
        """Prepares its storage; does nothing to storage that is prepared already."""
        arguments = ["format", "--ignore-formatted", "-t", self.cluster_id, "-c", str(self.properties)]
        return self._java(["-XX:+UseSerialGC"], "format.log", "kafka.tools.StorageTool", *arguments)

    def _java(self, options: Sequence[str], log: str, *arguments: str) -> list[str]:
        logging = [
            f"-Dlog4j2.configurationFile={self.log_configuration}",
            f"-Dheliotrope.broker.log={self.folder / log}",
        ]
        return [self.java, *options, *logging, "-cp", f"{self.lib}/*", *arguments]


def server_properties(node: Node) -> str:
    """Write the configuration of one node. Topics are created on purpose, never by a misspelt name."""
    client = f"PLAINTEXT://127.0.0.1:{node.ports.client}"
    lines = {
        "process.roles": "broker,controller",
        "node.id": node.node_id,
        "controller.quorum.voters": f"{node.node_id}@127.0.0.1:{node.ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{client},CONTROLLER://127.0.0.1:{node.ports.controller}",
        "advertised.listeners": client,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": node.data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # Fifty partitions each, as in production, only make the first commit and the first transaction slow.
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.num.partitions": 5,
        "share.coordinator.state.topic.num.partitions": 5,
        # A group starts as soon as its first member is there, instead of waiting three seconds for others.
        "group.initial.rebalance.delay.ms": 0,
        # A node that was killed may come back only when its session is over; nine seconds by default.
        "broker.session.timeout.ms": 4_000,
        "broker.heartbeat.interval.ms": 500,
        # The default of 128 MiB is a third of the heap of a test broker.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        **node.more,
    }
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in lines.items())


def _escaped(value: str) -> str:
    """Write a value as a Java properties file wants it: ISO-8859-1, backslashes doubled."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = struct.unpack(f">{len(units) // 2}H", units)
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)

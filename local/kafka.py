"""The real Apache Kafka on this machine, without a container: for development, fault tests and benchmarks.

A broker that only resembles Kafka would prove nothing about redelivery, rebalancing or a leader that dies, so
what runs here is the published broker, fetched by Maven at the version pinned in ``deploy/kafka/pom.xml``.

Theory of operation, in the order in which things happen:

1. `ensure_jars` fetches the broker, once.
2. `server_properties` and `broker_command` say, as pure functions, what one node is and how it is run.
3. `prepare` writes that down for a whole cluster and formats its storage; a supervisor may run the result.
4. `LocalKafka` runs it itself, for tests and benchmarks, and can kill it.

Every node is both controller and broker, and listens on the loopback interface only.
"""

import base64
import contextlib
import ctypes
import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from shared.errors import PesError

PROJECT = Path(__file__).parents[1]
POM = PROJECT / "deploy" / "kafka" / "pom.xml"
DEFAULT_LIB = PROJECT / ".heliotrope" / "kafka" / "lib"

JAVA_VERSION_MIN = 17
FETCH_TIMEOUT_SECONDS = 600.0
FORMAT_TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.05
ANSWER_BYTES_MAX = 100_000

# Java names its files in the encoding of the locale; without this a folder called "données" is not found.
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C.UTF-8"}

# Clients keep trying to reach a broker that is down. On a port that the system also hands out to outgoing
# connections, such a client may end up connected to itself and hold the port; these are below that range.
PORT_MIN, PORT_MAX = 20_000, 32_000

STAMP = "pom.sha256"
PR_SET_PDEATHSIG = 1  # linux/prctl.h

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

Say = Callable[[str], None]


class KafkaUnavailableError(PesError):
    """Kafka cannot run here, or did not start. Show the sentence to the user: it says what to do."""


def quiet(_: str) -> None:
    """Receive progress and show none of it."""


# --- 1. Fetching the broker ---------------------------------------------------------------------------------


def ensure_jars(folder: Path = DEFAULT_LIB, *, say: Say = quiet) -> Path:
    """Fetch the broker into a folder, unless it already holds what ``pom.xml`` pins today.

    Several processes may ask at once: one fetches, the others wait for it.

    Args:
        folder: will hold the jars and nothing else; it appears complete or not at all.
        say: told what happens, when it takes long enough to be worth telling.

    Returns:
        The folder.

    Raises:
        KafkaUnavailableError: no Maven, no network, or another process has been fetching for ten minutes.
    """
    folder = folder.absolute()
    pinned = hashlib.sha256(POM.read_bytes()).hexdigest()
    if _fetched(folder) == pinned:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if _fetched(folder) != pinned:
            maven = _find("mvn")
            say("Téléchargement d'Apache Kafka (44 Mo, une seule fois)…")
            _fetch(maven, folder, pinned)
    return folder


def find_java() -> str:
    """Find the ``java`` command.

    Raises:
        KafkaUnavailableError: there is none on the PATH, or it is older than the broker accepts.
    """
    java = _find("java")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - found on the user's own PATH
    version = java_version(answer.stderr)
    if version is None or version < JAVA_VERSION_MIN:
        found = "does not say its version" if version is None else f"is version {version}"
        raise KafkaUnavailableError(
            f"Kafka needs Java {JAVA_VERSION_MIN} or later and Maven: `{java}` {found}. "
            f"Install Java {JAVA_VERSION_MIN}, or run without BUS=kafka."
        )
    return java


def java_version(text: str) -> int | None:
    """Read the major version in what ``java -version`` prints; ``None`` when it holds none."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


def _find(command: str) -> str:
    path = shutil.which(command)
    if path is None:
        raise KafkaUnavailableError(
            f"Kafka needs Java {JAVA_VERSION_MIN} or later and Maven: `{command}` was not found. "
            "Install them, or run without BUS=kafka."
        )
    return path


def _fetched(folder: Path) -> str | None:
    stamp = folder / STAMP
    return stamp.read_text("ascii") if stamp.exists() else None


def _fetch(maven: str, folder: Path, pinned: str) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        work = Path(name)
        _run_maven(maven, work / "new")
        (work / "new" / STAMP).write_text(pinned, "ascii")
        if folder.exists():
            folder.rename(work / "old")
        (work / "new").rename(folder)


def _run_maven(maven: str, output: Path) -> None:
    argv = [
        maven,
        "-q",
        "-B",
        "-C",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={output}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - found on the user's own PATH
            argv, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise KafkaUnavailableError(
            f"Maven did not finish fetching Apache Kafka in {FETCH_TIMEOUT_SECONDS:.0f} s. "
            "Check the network and try again, or run without BUS=kafka."
        ) from e
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise KafkaUnavailableError(
            f"Maven could not fetch Apache Kafka: {lines[0] if lines else f'exit code {done.returncode}'} "
            "Check the network and Maven's settings.xml and try again, or run without BUS=kafka."
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + FETCH_TIMEOUT_SECONDS
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as e:
                if time.monotonic() > deadline:
                    raise KafkaUnavailableError(
                        f"Another process has held {path} for {FETCH_TIMEOUT_SECONDS:.0f} s while fetching "
                        "Apache Kafka. Stop that process and try again."
                    ) from e
                time.sleep(POLL_SECONDS)
        yield  # closing the file releases the lock, also when the process is killed


# --- 2. One node, as text and as a command ------------------------------------------------------------------


@dataclass(frozen=True)
class Ports:
    """Where one node listens on 127.0.0.1: for clients, and for the other controllers."""

    client: int
    controller: int


@dataclass(frozen=True)
class BrokerConfig:
    """Everything that tells one node from another. The number of voters decides the replication.

    Attributes:
        node_id: from 1, and a key of ``voters``.
        voters: the ports of every node of the cluster, this one included, by node id.
        cluster_id: 16 bytes in URL-safe base64, the same for all nodes.
        folder: holds the node's configuration, its data and its logs; absolute.
    """

    node_id: int
    voters: Mapping[int, Ports]
    cluster_id: str
    folder: Path

    @property
    def ports(self) -> Ports:
        """Where this node listens."""
        return self.voters[self.node_id]

    @property
    def data(self) -> Path:
        """Where the topics are kept."""
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        """The file that holds `server_properties`."""
        return self.folder / "server.properties"


def server_properties(config: BrokerConfig) -> str:
    """Write the configuration of one node.

    A development cluster of one node keeps one copy; three nodes keep three and accept a write once two have
    it, so that one of them may die. Topics are created on purpose, never by a misspelt name.
    """
    copies = min(3, len(config.voters))
    in_sync = max(1, copies - 1)
    voters = ",".join(f"{node_id}@127.0.0.1:{ports.controller}" for node_id, ports in config.voters.items())
    client = f"PLAINTEXT://127.0.0.1:{config.ports.client}"
    lines = {
        "process.roles": "broker,controller",
        "node.id": config.node_id,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{client},CONTROLLER://127.0.0.1:{config.ports.controller}",
        "advertised.listeners": client,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": config.data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
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
    }
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in lines.items())


def _escaped(value: str) -> str:
    """Write a value as a Java properties file wants it: ISO-8859-1, backslashes doubled."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = struct.unpack(f">{len(units) // 2}H", units)
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)


def broker_command(config: BrokerConfig, *, lib: Path, java: str = "java") -> list[str]:
    """Say how to run one node in the foreground, once `prepare` has been there."""
    heap = ["-Xmx512m"] if len(config.voters) == 1 else ["-Xmx400m", "-XX:+UseSerialGC"]
    options = [*heap, "-XX:+ExitOnOutOfMemoryError", *_logging(config, "broker.log")]
    return [java, *options, "-cp", f"{lib}/*", "kafka.Kafka", str(config.properties)]


def format_command(config: BrokerConfig, *, lib: Path, java: str = "java") -> list[str]:
    """Say how to prepare the storage of one node; does nothing to storage that is prepared already."""
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
    arguments = ["-t", config.cluster_id, "-c", str(config.properties)]
    return [java, "-XX:+UseSerialGC", *_logging(config, "format.log"), "-cp", f"{lib}/*", *tool, *arguments]


def _logging(config: BrokerConfig, name: str) -> list[str]:
    return [
        f"-Dlog4j2.configurationFile={config.folder / 'log4j2.properties'}",
        f"-Dheliotrope.broker.log={config.folder / name}",
    ]


# --- 3. A cluster on disk -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """One node that is ready to run, by us or by a supervisor.

    Attributes:
        argv: runs the broker in the foreground; SIGTERM stops it cleanly.
        env: to add to the environment of the process.
        port: for clients, on 127.0.0.1.
        folder: holds its logs, ``broker.log`` first of all.
    """

    cluster_id: str
    node_id: int
    argv: Sequence[str]
    env: Mapping[str, str]
    port: int
    folder: Path


def new_cluster_id() -> str:
    """Make up a cluster id, in the form that Kafka wants: 16 bytes, URL-safe base64, no padding.

    It never begins with a dash: Kafka's own tool would take it for an option.
    """
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii")).startswith("-"):
        pass
    return made


def free_ports(nodes: int) -> list[Ports]:
    """Choose ports for as many nodes. They are free now; nothing reserves them."""
    free: list[int] = []
    start = secrets.randbelow(PORT_MAX - PORT_MIN)
    for step in range(PORT_MAX - PORT_MIN):
        port = PORT_MIN + (start + step) % (PORT_MAX - PORT_MIN)
        if _is_free(port):
            free.append(port)
        if len(free) == 2 * nodes:
            return [Ports(client, controller) for client, controller in zip(free[::2], free[1::2], strict=True)]
    raise KafkaUnavailableError(f"No free port between {PORT_MIN} and {PORT_MAX}: close some programs and try again.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def prepare(folder: Path, ports: Sequence[Ports], *, lib: Path, say: Say = quiet) -> list[Node]:
    """Write the configuration of a cluster and format what is not formatted yet. Data that is there stays.

    Args:
        folder: belongs to this cluster alone.
        ports: one pair per node: one node for development, three for fault tests.
        lib: what `ensure_jars` returned.
        say: told when storage is formatted (0.7 s per node).

    Raises:
        KafkaUnavailableError: Java is missing or too old, or the storage belongs to another cluster.
    """
    folder, java = folder.absolute(), find_java()
    voters = dict(enumerate(ports, start=1))
    cluster_id = _cluster_id(folder)
    nodes = []
    for node_id in voters:
        config = BrokerConfig(node_id, voters, cluster_id, folder / f"node-{node_id}")
        _write_configuration(config)
        format_storage(config, lib=lib, java=java, say=say)
        argv = broker_command(config, lib=lib.absolute(), java=java)
        nodes.append(Node(cluster_id, node_id, argv, ENVIRONMENT, config.ports.client, config.folder))
    return nodes


def format_storage(config: BrokerConfig, *, lib: Path, java: str = "java", say: Say = quiet) -> None:
    """Prepare the storage of one node, whose configuration is on disk. Does nothing the second time.

    Raises:
        KafkaUnavailableError: the tool refused, for example because the storage belongs to another cluster.
    """
    if (config.data / "meta.properties").exists():
        return
    say(f"Préparation du stockage du nœud Kafka {config.node_id}…")
    argv = format_command(config, lib=lib.absolute(), java=java)
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(  # noqa: S603 - our own command line
        argv, env=environment, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        raise KafkaUnavailableError(
            f"Kafka could not format {config.data}: {(done.stderr or done.stdout).strip()} "
            f"Remove {config.folder} to start from nothing."
        )


def _cluster_id(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "cluster-id"
    if not kept.exists():
        kept.write_text(new_cluster_id(), "ascii")
    return kept.read_text("ascii")


def _write_configuration(config: BrokerConfig) -> None:
    config.folder.mkdir(exist_ok=True)
    config.properties.write_text(server_properties(config), "ascii")
    (config.folder / "log4j2.properties").write_text(LOG_CONFIGURATION, "ascii")


# --- 4. Running it ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """What a broker says about the cluster it belongs to: its id, and the nodes that are up."""

    cluster_id: str
    node_ids: frozenset[int]


def ask_cluster(port: int, *, timeout_seconds: float = 2.0) -> Cluster | None:
    """Ask the broker on this port about its cluster; ``None`` when nobody answers, or not as a broker does.

    This is a Metadata request, version 2, for no topic, in its sixteen bytes: a client library would be
    asynchronous, and would log an error for each attempt before the broker is there.
    Source: the Kafka protocol guide, "Metadata API (Key: 3)".
    """
    request = struct.pack(">hhihi", 3, 2, 1, -1, 0)  # api, version, correlation id, no client id, no topic
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                return read_cluster(answer.read(min(size, ANSWER_BYTES_MAX)))
    except (OSError, ValueError, struct.error):
        return None


def read_cluster(answer: bytes) -> Cluster:
    """Read the answer to a Metadata request, version 2.

    Raises:
        ValueError: the answer is not one.
        struct.error: the answer is cut short.
    """
    source = io.BytesIO(answer)
    _, count = _read(source, ">ii")  # the correlation id, then the brokers
    node_ids = set()
    for _ in range(count):
        node_ids.add(_read(source, ">i")[0])
        _read_text(source)  # host
        _read(source, ">i")  # port
        _read_text(source)  # rack
    return Cluster(_read_text(source), frozenset(node_ids))


def _read(source: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, source.read(struct.calcsize(layout)))


def _read_text(source: BinaryIO) -> str:
    (size,) = _read(source, ">h")
    return source.read(size).decode("utf-8") if size > 0 else ""  # -1 stands for none


def is_up(node: Node, others: Sequence[int] = ()) -> bool:
    """Say whether the node answers, and knows itself and these other nodes to be up.

    The cluster id is compared because another broker may hold the port.
    """
    cluster = ask_cluster(node.port)
    if cluster is None or cluster.cluster_id != node.cluster_id:
        return False
    return {node.node_id, *others} <= cluster.node_ids


@dataclass
class Broker:
    """One node as a process of ours, which dies with us where the system allows it (Linux).

    The system counts the *thread* that started the broker: start it from one that lasts as long as it should.
    """

    node: Node
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def port(self) -> int:
        """For clients, on 127.0.0.1."""
        return self.node.port

    @property
    def pid(self) -> int | None:
        """The id of the process, if it runs."""
        return self._process.pid if self._process is not None and self.is_running() else None

    def is_running(self) -> bool:
        """Say whether the process is alive; whether it answers is another matter."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process, on the data it left, and return at once. See `wait_until_up`."""
        if self.is_running():
            return
        with (self.node.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self.node.argv,
                env={**os.environ, **self.node.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the test run, which then stops the broker in order
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call, prepared before the fork
            )

    def wait_until_up(self, others: Sequence[int] = (), *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Wait until `is_up`.

        Raises:
            KafkaUnavailableError: it stopped, or did not get there in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_up(self.node, others):
            if not self.is_running():
                raise KafkaUnavailableError(self._failure("stopped while it was starting"))
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(self._failure(f"did not answer in {timeout_seconds:.0f} s"))
            time.sleep(POLL_SECONDS)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        self.wait_until_up()

    def stop(self, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Ask the process to stop, and kill it if it does not."""
        self.request_stop()
        if self._process is None:
            return
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def request_stop(self) -> None:
        """Ask the process to stop, and return at once."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Take the process away at once, as a power cut would. What it has acknowledged is still there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_SECONDS)

    def _failure(self, what: str) -> str:
        text = "".join(_tail(self.node.folder / name) for name in ("broker.log", "output.log"))
        return f"Kafka node {self.node.node_id} {what}. The end of the logs in {self.node.folder}:\n{text}"


def _tail(path: Path, lines_max: int = 15) -> str:
    if not path.exists():
        return ""
    return "".join(path.read_text("utf-8", errors="replace").splitlines(keepends=True)[-lines_max:])


def _die_with_parent() -> Callable[[], None] | None:
    """Prepare what a child does first so that the system kills it when we die; ``None`` off Linux."""
    if sys.platform != "linux":
        return None
    set_option = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        set_option(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # we died before the call
            os._exit(1)

    return ask


class LocalKafka:
    """A cluster for one test or benchmark: one node by default, three to take one away.

    ::

        with LocalKafka(folder) as kafka:
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 1,
        ports: Sequence[Ports] | None = None,
        lib: Path = DEFAULT_LIB,
        say: Say = quiet,
    ) -> None:
        """Fetch, configure and format; run nothing yet.

        Args:
            folder: belongs to this cluster alone; a folder used before keeps its topics.
            nodes: how many, when ``ports`` does not say.
            ports: one pair per node; free ones by default.
            lib: where the jars are, or will be once fetched.
            say: told about what takes long.

        Raises:
            KafkaUnavailableError: Java or Maven is missing, or the broker cannot be fetched.
        """
        jars = ensure_jars(lib, say=say)
        prepared = prepare(folder, ports or free_ports(nodes), lib=jars, say=say)
        self.brokers = [Broker(node) for node in prepared]

    @property
    def bootstrap(self) -> str:
        """What clients connect to: ``127.0.0.1:PORT``, or several separated by commas."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def start(self) -> None:
        """Start every node that is down, and wait until each knows all of them to be up."""
        for broker in self.brokers:
            broker.launch()
        everyone = [broker.node.node_id for broker in self.brokers]
        for broker in self.brokers:
            broker.wait_until_up(everyone)

    def stop(self) -> None:
        """Stop every node; their data stays."""
        for broker in self.brokers:
            broker.request_stop()
        for broker in self.brokers:
            broker.stop()

    def kill(self) -> None:
        """Take every node away at once."""
        for broker in self.brokers:
            broker.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

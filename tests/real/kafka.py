"""Real clusters of Kafka, of one broker or several, which a test may take away."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from local.errors import KafkaUnavailableError
from local.kafka.answering import is_up
from local.kafka.jars import DEFAULT_LIB, ensure_jars
from local.kafka.java import find_java
from local.kafka.node import ENVIRONMENT, Node, Ports
from local.kafka.storage import prepare
from tests.finishing import finish
from tests.real.missing import missing
from tests.real.ports import free_port

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.05

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def require_kafka() -> Path:
    """Fetch the broker; without Java or Maven, skip the test, or fail it where nothing may be skipped (CI)."""
    try:
        find_java()
        return ensure_jars(DEFAULT_LIB)
    except KafkaUnavailableError as error:
        missing(str(error))


def several(ports: Sequence[Ports]) -> dict[str, object]:
    """Say what tells a cluster of three or more from one node: who votes, and how many keep what is written.

    Three keep a copy, and a write is accepted once two have it, so that one of them may die.
    """
    copies, in_sync = 3, 2
    return {
        "controller.quorum.voters": ",".join(
            f"{node_id}@127.0.0.1:{one.controller}" for node_id, one in enumerate(ports, start=1)
        ),
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


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
        return self.node.ports.client

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
            self._process = subprocess.Popen(
                self.node.argv,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the test run, which then stops the broker in order
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call, prepared before the fork
            )

    def wait_until_up(self, nodes: int) -> None:
        """Wait until the node answers, and as many nodes are up.

        Raises:
            KafkaUnavailableError: it stopped, or did not get there in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not finish(is_up(self.node, nodes=nodes)):
            if not self.is_running():
                raise KafkaUnavailableError(self._failure("stopped while it was starting"))
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(self._failure(f"did not answer in {START_TIMEOUT_SECONDS:.0f} s"))
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the process to stop, and kill it if it does not."""
        self.request_stop()
        if self._process is None:
            return
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
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


class KafkaCluster:
    """A cluster for one test or benchmark: one node by default, three to take one away.

    ::

        with KafkaCluster(folder) as kafka:
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    """

    def __init__(self, folder: Path, *, nodes: int = 1, ports: Sequence[Ports] = (), lib: Path = DEFAULT_LIB) -> None:
        """Fetch, configure and format; run nothing yet.

        Args:
            folder: belongs to this cluster alone; a folder used before keeps its topics.
            nodes: how many, when ``ports`` does not say.
            ports: one pair per node; free ones by default.
            lib: where the jars are, or will be once fetched.

        Raises:
            KafkaUnavailableError: Java or Maven is missing, or the broker cannot be fetched.
        """
        jars = ensure_jars(lib)
        listening = ports or [Ports(client=free_port(), controller=free_port()) for _ in range(nodes)]
        more = several(listening) if len(listening) > 1 else {}
        self.brokers = [
            Broker(prepare(folder, one, lib=jars, node_id=node_id, more=more))
            for node_id, one in enumerate(listening, start=1)
        ]

    @property
    def bootstrap(self) -> str:
        """What clients connect to: ``127.0.0.1:PORT``, or several separated by commas."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def start(self) -> None:
        """Start every node that is down, and wait until each knows all of them to be up."""
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.wait_until_up(len(self.brokers))

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

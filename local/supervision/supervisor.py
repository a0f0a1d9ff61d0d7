"""Launches supervisord, asks it, and stops it."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local.folder import PROJECT, DataFolder
from local.supervision.program import Program, configuration

POLL_SECONDS = 0.02
ANSWER_SECONDS_MAX = 15.0
STOP_SECONDS_MAX = 90.0
MODULE = "local.supervision.supervisord"


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of one program; `pid` is 0 when it does not run."""

    name: str
    state: str
    pid: int


class Supervisor:
    """The supervisord of one data folder, whoever launched it."""

    def __init__(self, folder: DataFolder) -> None:
        """Look at nothing yet."""
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        """Start supervisord, apart from our terminal, with nothing but `environment`, and wait until it answers.

        Raises:
            TimeoutError: it does not answer; the end of its output is in the message.
        """
        folder = self._folder
        folder.write(folder.supervisor_conf, configuration(folder, programs), mode=0o600)
        folder.supervisor_pid.unlink(missing_ok=True)
        argv = [sys.executable, "-m", MODULE, "-n", "-c", str(folder.supervisor_conf)]
        output = folder.logs / "supervisord.out"
        with output.open("wb") as out:
            self._child = subprocess.Popen(  # noqa: S603  # our own command line
                argv,
                env=dict(environment),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while self.states() is None:
            if time.monotonic() > deadline or self._child.poll() is not None:
                raise TimeoutError(output.read_text("utf-8", "replace")[-2000:])
            time.sleep(POLL_SECONDS)

    def process(self) -> psutil.Process | None:
        """Return the process of supervisord: alive, and not another one that got its number."""
        try:
            process = psutil.Process(int(self._folder.supervisor_pid.read_text("ascii")))
            is_ours = str(self._folder.supervisor_conf) in process.cmdline()
            return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def is_alive(self) -> bool:
        """True while supervisord runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self.process() is not None

    def states(self) -> list[ProcessState] | None:
        """Return the state of every program; None when supervisord does not answer."""
        try:
            with self._rpc() as supervisor:
                answer = supervisor.getAllProcessInfo()
        except (OSError, RpcError):
            return None
        return [ProcessState(name=one["name"], state=one["statename"], pid=one["pid"]) for one in answer]

    def start(self, group: str) -> None:
        """Start the programs of a group, and return at once."""
        with self._rpc() as supervisor:
            supervisor.startProcessGroup(group, False)  # noqa: FBT003  # XML-RPC has no names: do not wait

    def stop(self, group: str, program: str = "*") -> None:
        """Stop one program of a group, or all of them, and return once they have stopped. They are not restarted."""
        with self._rpc() as supervisor:
            supervisor.stopProcess(f"{group}:{program}")

    def shut_down(self) -> None:
        """Stop every program in order, then supervisord. Does nothing when it does not run."""
        process = self.process()
        if process is None:
            return
        try:
            process.terminate()
            process.wait(STOP_SECONDS_MAX)
        except psutil.TimeoutExpired:
            process.kill()  # what it leaves behind is the caller's to stop
        except psutil.NoSuchProcess:
            return
        finally:
            if self._child is not None:
                self._child.wait(STOP_SECONDS_MAX)

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        """Lend what supervisord offers over XML-RPC, which has no types."""
        transport = SupervisorTransport(None, None, f"unix://{self._folder.supervisor_socket}")
        with closing(transport):
            yield ServerProxy("http://127.0.0.1", transport=transport).supervisor

"""Supervision: every program of the platform is a child of supervisord, which starts again whatever dies.

Theory of operation. `configuration` writes what supervisord must know, as text. `Supervisor` launches it, apart from
the terminal so that Ctrl-C reaches whoever holds the platform and not thirty processes at once, and talks to it over
a UNIX socket. Groups stop in the reverse order of their rank: SIGTERM to supervisord stops the services, then the
bus, then PostgreSQL.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local.folder import DataFolder

LOG_BYTES_MAX = 10_000_000
LOG_BACKUPS = 3
RETRIES = 1_000_000
POLL_SECONDS = 0.02
ANSWER_SECONDS_MAX = 15.0
STOP_SECONDS_MAX = 90.0
MODULE = "local.supervisord"


@dataclass(frozen=True)
class Program:
    """One program to keep running.

    Attributes:
        argv: runs it in the foreground.
        environment: what it needs beyond the few variables that all programs share.
        group: programs of one group start and stop together.
        rank: groups stop from the highest rank to the lowest.
        is_started: started with supervisord; otherwise when it is asked for.
        user: the system account to run it as, when we are root.
        stop_signal: asks it to stop.
        stop_seconds: how long it may take before it is killed.
        is_stopped_whole: signals go to its whole process group (not to be used for PostgreSQL).
    """

    name: str
    argv: Sequence[str]
    group: str
    rank: int
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_started: bool = False
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    is_stopped_whole: bool = True


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of one program; `pid` is 0 when it does not run."""

    name: str
    state: str
    pid: int


def configuration(folder: DataFolder, programs: Sequence[Program]) -> str:
    """Write the configuration of supervisord."""
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": folder.supervisor_socket, "chmod": "0700"},
        "supervisord": {
            "logfile": folder.logs / "supervisord.log",
            "logfile_maxbytes": LOG_BYTES_MAX,
            "logfile_backups": LOG_BACKUPS,
            "pidfile": folder.supervisor_pid,
            "directory": folder.root,
            "identifier": "heliotrope",
            "nocleanup": "true",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    for program in programs:
        sections[f"program:{program.name}"] = _program_section(folder, program)
    for group, rank in {program.group: program.rank for program in programs}.items():
        names = ",".join(program.name for program in programs if program.group == group)
        sections[f"group:{group}"] = {"programs": names, "priority": rank}
    return "\n".join(
        f"[{title}]\n" + "".join(f"{key}={_escaped(value)}\n" for key, value in section.items())
        for title, section in sections.items()
    )


def _program_section(folder: DataFolder, program: Program) -> dict[str, object]:
    whole = "true" if program.is_stopped_whole else "false"
    section: dict[str, object] = {
        "command": " ".join(_quoted(word) for word in program.argv),
        "directory": program.directory,
        "environment": ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items()),
        "autostart": "true" if program.is_started else "false",
        "autorestart": "true",
        "startsecs": 1,
        "startretries": RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_seconds,
        "stopasgroup": whole,
        "killasgroup": whole,
        "redirect_stderr": "true",
        "stdout_logfile": folder.logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES_MAX,
        "stdout_logfile_backups": LOG_BACKUPS,
    }
    if program.user:
        section["user"] = program.user
    return section


def _quoted(word: str) -> str:
    """Quote a word of a command line or of an environment; supervisor knows no way to escape a quote."""
    if '"' not in word:
        return f'"{word}"'
    if "'" not in word:
        return f"'{word}'"
    raise ValueError(f"supervisor cannot be given {word!r}: it has both kinds of quotes")


def _escaped(value: object) -> str:
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise ValueError(f"supervisor cannot be given {text!r}")
    return text.replace("%", "%%")


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
                cwd=Path(__file__).parents[1],
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

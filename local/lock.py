"""One platform per data folder: whoever starts, holds or stops it has a lock, which the system frees if they die."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from local.errors import PlatformError
from local.folder import DataFolder

POLL_SECONDS = 0.05


class HeldElsewhereError(PlatformError):
    """Another process holds this folder's platform.

    Attributes:
        pid: which one; 0 when it has not said yet.
    """

    def __init__(self, folder: DataFolder, pid: int) -> None:
        super().__init__(
            "Une plateforme est déjà lancée dans ce dossier",
            f"Le processus {pid or 'inconnu'} tient {folder.root}. Arrêtez-la (`heliotrope down`), ou choisissez un "
            "autre dossier (--data) et d’autres ports (HELIOTROPE_PORT_BASE).",
        )
        self.pid = pid


@contextmanager
def held(folder: DataFolder, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        HeldElsewhereError: another process holds it, and still does after `wait_seconds`.
    """
    with folder.lock_file.open("a+", encoding="ascii") as file:
        try:
            take(file, wait_seconds=wait_seconds)
        except BlockingIOError as error:
            raise HeldElsewhereError(folder, holder(folder)) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def take(file: TextIO, *, wait_seconds: float) -> None:
    """Lock an open file; the system frees it when the file is closed, or the process ends.

    Raises:
        BlockingIOError: another process has it, and still does after `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def is_held(folder: DataFolder) -> bool:
    """True while some process holds the lock."""
    try:
        with folder.lock_file.open("r", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder(folder: DataFolder) -> int:
    """Return the process that holds, or last held, the lock; 0 when nobody says."""
    try:
        return int(folder.lock_file.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0

"""Folders for servers that run long, kept out of pytest's own.

Each run of pytest that starts on the machine closes the folder above those of all runs to other users. PostgreSQL,
which is another user when we are root, could not open its files from then on.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
MEMORY_BYTES_MIN = 2 * 1024**3


@contextmanager
def lasting_folder() -> Iterator[Path]:
    """Lend a folder, in memory where there is room: databases are made and written all the time."""
    with tempfile.TemporaryDirectory(dir=_memory(), prefix="heliotrope-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _memory() -> Path | None:
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    return MEMORY if has_room else None

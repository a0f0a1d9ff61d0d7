"""Files that others read at any time: there whole, or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole or not at all, whatever happens meanwhile, a loss of power included.

    Args:
        path: its folder exists; what it names already is replaced.
        content: what it will hold.
        mode: who may read and write it, less what the process's umask takes away; from the first byte on.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # left by a process of the same number, which is no more
    try:
        partial.touch(mode=mode, exist_ok=False)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too
    finally:
        os.close(folder)

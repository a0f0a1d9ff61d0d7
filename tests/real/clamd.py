"""The real clamd, where it is installed, with one signature of our own: nothing is downloaded."""

import hashlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.clamd import MARK, NAME
from tests.real.missing import missing

PATIENCE_SECONDS = 30


def find_clamd() -> str:
    """Return where clamd is; without it, skip the test, or fail it where nothing may be skipped (CI)."""
    found = shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return found or missing("clamd is not installed (Debian: clamav-daemon)")


@contextmanager
def real_clamd(folder: Path) -> Iterator[str]:
    """Run clamd in a folder, and lend its address."""
    program = find_clamd()
    socket = folder / "clamd.ctl"
    signatures = folder / "signatures"
    signatures.mkdir()
    (signatures / "test.ndb").write_text(f"{NAME.removesuffix('.UNOFFICIAL')}:0:*:{MARK.hex()}\n")
    (signatures / "test.hdb").write_text(f"{hashlib.md5(MARK, usedforsecurity=False).hexdigest()}:{len(MARK)}:X\n")
    configuration = {
        "Foreground": "yes",
        "LocalSocket": str(socket),
        "DatabaseDirectory": str(signatures),
        "TemporaryDirectory": str(folder),
        "StreamMaxLength": "25M",
        "MaxScanSize": "100M",
        "MaxFileSize": "100M",
        "User": pwd.getpwuid(os.getuid()).pw_name,
    }
    file = folder / "clamd.conf"
    file.write_text("".join(f"{name} {value}\n" for name, value in configuration.items()))
    with (
        (folder / "clamd.log").open("wb") as log,
        subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log) as daemon,
    ):
        try:
            _wait_for(socket, daemon, folder / "clamd.log")
            yield f"unix://{socket}"
        finally:
            daemon.kill()


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not socket.is_socket():
        assert daemon.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)

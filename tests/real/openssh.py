"""A real OpenSSH server for tests, on a port of its own, with a key for the one who runs the tests."""

import asyncio
import getpass
import os
import shutil
import subprocess
from pathlib import Path

import psutil

from shared.runtime.sftp import SftpServer
from tests.real.missing import missing
from tests.real.ports import free_port
from tests.real.stoppable import Stoppable

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def require_sshd() -> str:
    """Return where sshd is; without it, skip the test, or fail it where nothing may be skipped (CI)."""
    return SSHD or missing("no OpenSSH server on this machine (Debian: apt-get install openssh-server)")


class OpenSsh(Stoppable):
    """Serves a folder that has `entree`, `sortie` and `traite`. Use as an async context manager."""

    def __init__(self, folder: Path) -> None:
        """Write what sshd needs; nothing runs yet."""
        self._sshd = require_sshd()
        self.folder = folder
        for name in ("entree", "sortie", "traite"):
            (folder / name).mkdir()
        self.server = _prepare(folder)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Be there; again on the same port after `stop`."""
        command = [self._sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self._process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await _answers(self.server.port)

    def fall_silent(self) -> None:
        """Have the open sessions answer nothing any more, without ending; new ones are served."""
        assert self._process is not None
        for session in psutil.Process(self._process.pid).children(recursive=True):
            session.suspend()

    async def stop(self) -> None:
        """Be away; sshd and the processes of its sessions are killed."""
        if self._process is None:
            return
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for child in family:
            if child.is_running():
                child.kill()
        await self._process.wait()
        self._process = None


def _prepare(folder: Path) -> SftpServer:
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it when it runs as root
    port = free_port()
    for name in ("host_key", "login_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    host_key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/login_key.pub\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n"
    )
    return SftpServer(
        host="127.0.0.1",
        port=port,
        login=getpass.getuser(),
        key_file=folder / "login_key",
        known_hosts_file=folder / "known_hosts",
        entry_directory=str(folder / "entree"),
        reply_directory=str(folder / "sortie"),
        operation_seconds_max=5,
    )


async def _answers(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return

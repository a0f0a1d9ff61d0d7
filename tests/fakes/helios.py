"""A local DGFiP for tests: the simulator itself, on a real SFTP port, in this process; it can go and come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from services.simulator.adapters.folder import ENTRY, REPLIES, Folder
from services.simulator.adapters.sftp import open_server
from services.simulator.handler import Guichet
from shared.runtime.sftp import SftpServer
from tests.real.stoppable import Stoppable

LOGIN = "heliotrope"
PASSWORD = "not-a-secret"
POLL_SECONDS = 0.005


@dataclass
class Helios(Stoppable):
    """Use as an async context manager; `answers=False` receives files and leaves them there."""

    root: Path
    answers: bool = True
    file_bytes_max: int = 200 * 1024 * 1024
    port: int = 0
    folder: Folder = field(init=False)
    guichet: Guichet = field(init=False)
    _open: AsyncExitStack | None = field(default=None, init=False)

    async def start(self) -> None:
        """Be there; again on the same port after `stop`."""
        self.folder = Folder(self.root)
        self.guichet = Guichet(self.folder)
        self._open = AsyncExitStack()
        server = await self._open.enter_async_context(
            open_server(
                self.folder,
                self.guichet.take,
                host="127.0.0.1",
                port=self.port,
                login=LOGIN,
                password=PASSWORD,
                keys=self.root,
                file_bytes_max=self.file_bytes_max,
            )
        )
        self.port = server.port
        if self.answers:
            running = asyncio.create_task(self.guichet.run())
            self._open.push_async_callback(_stop, running)

    async def stop(self) -> None:
        """Be away; whoever is connected is cut off."""
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    @property
    def known_hosts(self) -> Path:
        """The host key, for clients to pin."""
        return self.root / "known_hosts"

    @property
    def server(self) -> SftpServer:
        """Where clients find it."""
        return SftpServer(
            host="127.0.0.1",
            port=self.port,
            login=LOGIN,
            password=PASSWORD,
            known_hosts_file=self.known_hosts,
            operation_seconds_max=5,
        )

    @asynccontextmanager
    async def client(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """Connect as someone who has nothing of ours."""
        async with (
            asyncssh.connect(
                "127.0.0.1",
                self.port,
                username=LOGIN,
                password=PASSWORD,
                known_hosts=str(self.known_hosts),
                client_keys=None,
                agent_path=None,
                config=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            yield sftp

    @property
    def entry(self) -> Path:
        """The directory where clients put files."""
        return self.folder.sftp / ENTRY

    @property
    def replies(self) -> Path:
        """The directory where answers appear."""
        return self.folder.sftp / REPLIES

    async def next_replies(self, count: int = 1) -> list[Path]:
        """Return the answers once there are so many."""
        async with asyncio.timeout(60):
            while True:
                found = sorted(file for file in self.replies.iterdir() if not file.name.startswith("."))
                if len(found) >= count:
                    return found
                await asyncio.sleep(POLL_SECONDS)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

"""The SFTP server that clients see as DGFiP's.

A file of /entree is received when its client *closes* it. When the connection is lost instead, the file stays
there, unread, until it is written again; unless it has the digest that its name announces (Passtrans names do),
which proves that only the last word was lost.
"""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

import asyncssh

from services.simulator.adapters.folder import ENTRY, Folder
from services.simulator.ports import Reception

LOGIN_SECONDS_MAX = 30
_ENTRY_PREFIX = f"/{ENTRY}/".encode()

Taker = Callable[[Reception], None]


class _Login(asyncssh.SSHServer):
    """Lets one login in, with its password."""

    def __init__(self, login: str, password: str) -> None:
        self._login = login
        self._password = password

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        is_login = hmac.compare_digest(username.encode(), self._login.encode())
        return hmac.compare_digest(password.encode(), self._password.encode()) and is_login


class _Session(asyncssh.SFTPServer):
    """Serves one client; tells files that were closed from files that were cut off.

    asyncssh calls `close` in both cases. When the session is ending, it calls `exit` at once after it, before
    anything else runs: so `close` only notes the name, and what it means is settled at the next turn of the loop.
    """

    def __init__(
        self, channel: "asyncssh.SSHServerChannel[bytes]", folder: Folder, take: Taker, file_bytes_max: int
    ) -> None:
        super().__init__(channel, chroot=os.fsencode(folder.sftp))
        self._folder = folder
        self._take = take
        self._file_bytes_max = file_bytes_max
        self._closed: list[str] = []
        self._checks: set[asyncio.Task[None]] = set()

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if offset + len(data) > self._file_bytes_max:
            raise asyncssh.SFTPQuotaExceeded(f"a file holds at most {self._file_bytes_max} bytes")
        assert isinstance(file_obj, FileIO)  # noqa: S101  # what the base class opens
        file_obj.seek(offset)
        return file_obj.write(data)

    def close(self, file_obj: object) -> None:
        assert isinstance(file_obj, FileIO)  # noqa: S101
        file_obj.close()
        if file_obj.mode != "rb" and (name := self._name_in_entry(file_obj)):
            self._closed.append(name)
            asyncio.get_running_loop().call_soon(self._receive_closed)

    def exit(self) -> None:
        cut_off, self._closed = self._closed, []
        for name in cut_off:
            check = asyncio.get_running_loop().create_task(self._receive_if_complete(name))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def _receive_closed(self) -> None:
        closed, self._closed = self._closed, []
        for name in closed:
            self._receive(name)

    async def _receive_if_complete(self, name: str) -> None:
        if await asyncio.to_thread(self._folder.is_complete, name):
            self._receive(name)

    def _receive(self, name: str) -> None:
        reception = self._folder.take(name)
        if reception is not None:
            self._take(reception)

    def _name_in_entry(self, file_obj: FileIO) -> str:
        """Return the name of a file that stands directly in /entree and is not hidden; empty for any other."""
        path = self.reverse_map_path(os.fsencode(str(file_obj.name)))
        name = os.fsdecode(path.removeprefix(_ENTRY_PREFIX))
        return "" if not path.startswith(_ENTRY_PREFIX) or "/" in name or name.startswith(".") else name


class SftpServer:
    """The server, once it listens."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor) -> None:
        """Made by `open_server`."""
        self._acceptor = acceptor

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._acceptor.get_port()

    async def check(self) -> None:
        """Return: a server that is open answers."""


@asynccontextmanager
async def open_server(
    folder: Folder,
    take: Taker,
    *,
    host: str,
    port: int,
    login: str,
    password: str,
    keys: Path,
    file_bytes_max: int,
) -> AsyncIterator[SftpServer]:
    """Serve the folder over SFTP until the block ends, which cuts whoever is connected.

    Args:
        folder: what is served.
        take: called with each file received.
        host: address to listen on.
        port: port to listen on; 0 for any.
        login: the one login.
        password: its password.
        keys: folder of the host key, made there at the first start, with a `known_hosts` that clients can pin.
        file_bytes_max: the largest file taken.
    """
    host_key = _host_key(keys)
    connections: set[asyncssh.SSHServerConnection] = set()

    class Login(_Login):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.add(conn)

    acceptor = await asyncssh.listen(
        host,
        port,
        server_host_keys=[host_key],
        server_factory=lambda: Login(login, password),
        sftp_factory=lambda channel: _Session(channel, folder, take, file_bytes_max),
        allow_scp=False,
        login_timeout=LOGIN_SECONDS_MAX,
        config=None,
    )
    server = SftpServer(acceptor)
    line = host_key.export_public_key("openssh").decode().split()[:2]
    (keys / "known_hosts").write_text(f"[{host}]:{server.port} {' '.join(line)}\n", "ascii")
    for name in folder.complete_ones():
        reception = folder.take(name)
        if reception is not None:
            take(reception)
    try:
        yield server
    finally:
        acceptor.close()
        for connection in connections:
            connection.abort()
        await acceptor.wait_closed()


def _host_key(folder: Path) -> asyncssh.SSHKey:
    private = folder / "host_key"
    if private.exists():
        return asyncssh.read_private_key(private)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="heliotrope simulator")
    unfinished = folder / ".host_key"
    unfinished.touch(mode=0o600)
    key.write_private_key(unfinished)
    key.write_public_key(folder / "host_key.pub")
    unfinished.rename(private)
    return key

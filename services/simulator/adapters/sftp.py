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
from shared.runtime.files import write_whole

LOGIN_SECONDS_MAX = 30
_ENTRY_PREFIX = f"/{ENTRY}/".encode()

Taker = Callable[[Reception], None]


class _Login(asyncssh.SSHServer):
    """Lets one login in, with its password."""

    def __init__(self, login: str, password: str, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._login = login
        self._password = password
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._connection is not None:
            self._connections.discard(self._connection)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        is_login = hmac.compare_digest(username.encode(), self._login.encode())
        return hmac.compare_digest(password.encode(), self._password.encode()) and is_login


class _Entrance:
    """Where files become received."""

    def __init__(self, folder: Folder, take: Taker) -> None:
        self.folder = folder
        self._take = take
        self._checks: set[asyncio.Task[None]] = set()

    def receive(self, name: str) -> None:
        """Receive a file that is complete."""
        reception = self.folder.take(name)
        if reception is not None:
            self._take(reception)

    def receive_complete_ones(self) -> None:
        """Receive the files that an earlier process left, as far as they prove complete."""
        for name in self.folder.complete_ones():
            self.receive(name)

    def receive_if_complete(self, name: str) -> None:
        """Receive a file later, if it proves complete."""
        check = asyncio.get_running_loop().create_task(self._check(name))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def finish(self) -> None:
        """Wait for the checks under way."""
        await asyncio.gather(*self._checks)

    async def _check(self, name: str) -> None:
        if await asyncio.to_thread(self.folder.is_complete, name):
            self.receive(name)


class _Session(asyncssh.SFTPServer):
    """Serves one client; tells files that were closed from files that were cut off.

    asyncssh calls `close` in both cases. When the session is ending, it calls `exit` at once after it, before
    anything else runs: so `close` only notes the name, and what it means is settled at the next turn of the loop.
    """

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]", entrance: _Entrance, file_bytes_max: int) -> None:
        super().__init__(channel, chroot=os.fsencode(entrance.folder.sftp))
        self._entrance = entrance
        self._file_bytes_max = file_bytes_max
        self._closed: list[str] = []

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """List a directory; what is renamed or removed meanwhile is left out, as real servers do."""
        with os.scandir(self.map_path(path)) as entries:
            for entry in entries:
                try:
                    attrs = asyncssh.SFTPAttrs.from_local(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                yield asyncssh.SFTPName(entry.name, attrs=attrs)

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
            self._entrance.receive_if_complete(name)

    def _receive_closed(self) -> None:
        closed, self._closed = self._closed, []
        for name in closed:
            self._entrance.receive(name)

    def _name_in_entry(self, file_obj: FileIO) -> str:
        """Return the name of a file that stands directly in /entree and is not hidden; empty for any other."""
        path = self.reverse_map_path(os.fsencode(file_obj.name))
        name = os.fsdecode(path.removeprefix(_ENTRY_PREFIX))
        return "" if not path.startswith(_ENTRY_PREFIX) or "/" in name or name.startswith(".") else name


class SftpServer:
    """The server, once it listens."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor, connections: set[asyncssh.SSHServerConnection]) -> None:
        """Made by `open_server`."""
        self._acceptor = acceptor
        self._connections = connections

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._acceptor.get_port()

    async def check(self) -> None:
        """Return: a server that is open answers."""

    async def cut(self) -> None:
        """Stop listening, and cut whoever is connected."""
        self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()
        await self._acceptor.wait_closed()


@asynccontextmanager
async def open_server(
    folder: Folder, take: Taker, *, host: str, port: int, login: str, password: str, keys: Path, file_bytes_max: int
) -> AsyncIterator[SftpServer]:
    """Serve the folder over SFTP, to the one login, until the block ends.

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
    entrance = _Entrance(folder, take)
    connections: set[asyncssh.SSHServerConnection] = set()
    acceptor = await asyncssh.listen(
        host,
        port,
        server_host_keys=[host_key],
        server_factory=lambda: _Login(login, password, connections),
        sftp_factory=lambda channel: _Session(channel, entrance, file_bytes_max),
        allow_scp=False,
        login_timeout=LOGIN_SECONDS_MAX,
        config=None,
    )
    server = SftpServer(acceptor, connections)
    _pin(keys, f"[{host}]:{server.port}", host_key)
    entrance.receive_complete_ones()
    try:
        yield server
    finally:
        await server.cut()
        await entrance.finish()


def _host_key(folder: Path) -> asyncssh.SSHKey:
    private = folder / "host_key"
    if private.exists():
        return asyncssh.read_private_key(private)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="heliotrope simulator")
    write_whole(folder / "host_key.pub", key.export_public_key())
    write_whole(private, key.export_private_key(), mode=0o600)
    return key


def _pin(folder: Path, address: str, host_key: asyncssh.SSHKey) -> None:
    """Write `known_hosts`, whole or not at all: clients read it at any time."""
    kind, key = host_key.export_public_key("openssh").decode().split()[:2]
    write_whole(folder / "known_hosts", f"{address} {kind} {key}\n".encode("ascii"))

"""DGFiP's SFTP server (Passtrans). Implements `services.gateway.ports.Channel`; nothing of asyncssh leaves here.

One connection, opened when it is needed and opened again after it was lost. The server must show a host key that
we have pinned. Every wait has a bound. A file that could not be sent whole is never *closed*: closing is what tells
the other side that it is complete; the connection is cut instead.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

import asyncssh

from services.gateway.ports import RefusedError
from shared.errors import UnavailableError

CHANNEL = "passtrans-sftp"
PARTY = "sftp"
KEEPALIVE_SECONDS = 15
_LOST = (
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    asyncssh.ChannelListenError,
    asyncssh.KeyImportError,  # a key of ours, or a pinned one, that cannot be read
    asyncssh.KeyEncryptionError,
    OSError,
    TimeoutError,
)
T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """Where the server is, how we prove who we are, and where things are there; see the settings."""

    host: str
    port: int
    login: str
    known_hosts_file: Path
    password: str = field(default="", repr=False)
    key_file: Path | None = None
    entry_directory: str = "/entree"
    reply_directory: str = "/sortie"
    connect_seconds_max: float = 10.0
    operation_seconds_max: float = 30.0


class SftpChannel:
    """See the module."""

    name = CHANNEL

    def __init__(self, server: Server) -> None:
        """Prepare to reach this server; nothing is opened yet."""
        self._server = server
        self._opening = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._session: asyncssh.SFTPClient | None = None

    async def open(self) -> None:
        """See `Channel.open`."""
        if self._session is not None:
            with suppress(UnavailableError):  # lost while nobody looked: once more, on a new connection
                await self._ask_for_entry()
                return
        await self._ask_for_entry()

    async def size_of(self, remote_name: str) -> int | None:
        """See `Channel.size_of`."""
        session = await self._connected()
        try:
            return (await self._within(session.stat(self._path(remote_name)))).size
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"a file cannot be looked at: {error.reason}") from error

    async def has_unread_replies(self) -> bool:
        """See `Channel.has_unread_replies`."""
        session = await self._connected()
        try:
            entries = await self._within(session.readdir(self._server.reply_directory))
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"the replies cannot be listed: {error.reason}") from error
        return any(
            S_ISREG(entry.attrs.permissions or 0) and not str(entry.filename).startswith(".") for entry in entries
        )

    async def put(self, remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        """See `Channel.put`."""
        session = await self._connected()
        try:
            file = await self._within(session.open(self._path(remote_name), "wb"))
        except asyncssh.SFTPError as error:
            raise RefusedError(_said(error)) from error
        try:
            async for chunk in chunks:
                await self._within(file.write(chunk))
        except asyncssh.SFTPError as error:
            await self._remove(session, remote_name)
            self._cut()
            raise RefusedError(_said(error)) from error
        except BaseException:
            self._cut()
            raise
        try:
            await self._within(file.close())
        except asyncssh.SFTPError as error:  # nobody can tell what the server made of it
            self._cut()
            raise UnavailableError(PARTY, f"a file could not be closed: {error.reason}") from error

    async def check(self) -> None:
        """Return if the server answers; raise `UnavailableError` if not."""
        await self.open()

    async def aclose(self) -> None:
        """Drop the connection; the next use opens another."""
        connection = self._connection
        self._cut()
        if connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await connection.wait_closed()

    async def _ask_for_entry(self) -> None:
        session = await self._connected()
        try:
            await self._within(session.stat(self._server.entry_directory))
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"the entry directory cannot be seen: {error.reason}") from error

    async def _connected(self) -> asyncssh.SFTPClient:
        async with self._opening:
            if self._session is None:
                server = self._server
                connecting = asyncssh.connect(
                    server.host,
                    server.port,
                    username=server.login,
                    password=server.password or None,
                    client_keys=[server.key_file] if server.key_file else None,
                    agent_path=None,
                    known_hosts=str(server.known_hosts_file),
                    config=None,
                    keepalive_interval=KEEPALIVE_SECONDS,
                )
                self._connection = await self._within(connecting, server.connect_seconds_max)
                try:
                    self._session = await self._within(self._connection.start_sftp_client())
                except asyncssh.SFTPError as error:
                    self._cut()
                    raise UnavailableError(PARTY, f"no SFTP session: {error.reason}") from error
            return self._session

    async def _within(self, operation: Awaitable[T], seconds: float | None = None) -> T:
        """Return what an operation does, within its bound; what the server answers (SFTPError) goes through."""
        try:
            async with asyncio.timeout(seconds or self._server.operation_seconds_max):
                return await operation
        except _LOST as error:
            self._cut()
            raise UnavailableError(PARTY, str(error) or type(error).__name__) from error

    async def _remove(self, session: asyncssh.SFTPClient, remote_name: str) -> None:
        """Take away what was written of a refused file, if the server lets us."""
        with suppress(asyncssh.SFTPError, UnavailableError):
            await self._within(session.remove(self._path(remote_name)))

    def _cut(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.abort()

    def _path(self, remote_name: str) -> str:
        return f"{self._server.entry_directory.rstrip('/')}/{remote_name}"


def _said(error: asyncssh.SFTPError) -> str:
    return f"{error.reason} (code {error.code})"

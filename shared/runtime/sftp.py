"""DGFiP's SFTP server, for the two services that reach it: how it is set, and one connection, kept.

The connection is opened when it is needed, and again after it was lost. The server must show a host key that we have
pinned, before we say anything. Every wait has a bound.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar, cast

import asyncssh
from pydantic import Field, FilePath, SecretStr, model_validator

from pes.units import MEBIBYTE
from shared import tracing
from shared.asking import asking
from shared.errors import UnavailableError
from shared.runtime.settings import ServiceSettings

PARTY = "sftp"
KEEPALIVE_SECONDS = 15
CLOSING_SECONDS = 1
PIECE_BYTES = MEBIBYTE  # as much of a file as `operation_seconds_max` is for
_LOST = (
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    asyncssh.DisconnectError,  # a wrong password or host key among others
    asyncssh.ChannelOpenError,
    asyncssh.ChannelListenError,
    OSError,
    TimeoutError,
)
_NOT_OPENED = (*_LOST, ValueError)  # a key of ours, or the pinned ones, cannot be read
_FILES = frozenset({asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN})  # not every server says which
# What lies among the replies and is none: temporary files, and our own files, which a simulator may show.
_NOT_REPLIES = (".", "PESALR")
T = TypeVar("T")


class SftpSettings(ServiceSettings):
    """The settings of the services that reach DGFiP's SFTP server.

    Attributes:
        sftp_host: DGFiP's SFTP server.
        sftp_port: its port.
        sftp_login: our login there.
        sftp_password: the password of that login, if it has one. Secret.
        sftp_key_file: the private key of that login, if it has one (OpenSSH format, without passphrase).
        known_hosts_file: the host keys of the server, pinned (OpenSSH's `known_hosts` form).
        entry_directory: where files are put.
        reply_directory: where replies appear, and go from once they are collected.
        connect_seconds_max: how long opening a connection may take.
        operation_seconds_max: how long the server may take over one request, or over one MiB of a file.
    """

    sftp_host: str = Field(min_length=1)
    sftp_port: int = Field(default=22, ge=1, le=65535)
    sftp_login: str = Field(min_length=1)
    sftp_password: SecretStr = SecretStr("")
    sftp_key_file: FilePath | None = None
    known_hosts_file: FilePath
    entry_directory: str = Field(default="/entree", pattern=r"^/")
    reply_directory: str = Field(default="/sortie", pattern=r"^/")
    connect_seconds_max: float = Field(default=10.0, gt=0)
    operation_seconds_max: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _has_a_way_in(self) -> Self:
        if not self.sftp_password.get_secret_value() and self.sftp_key_file is None:
            raise ValueError("set SFTP_PASSWORD or SFTP_KEY_FILE: how we prove who we are to the SFTP server")
        return self


@dataclass(frozen=True)
class SftpServer:
    """Where the server is, how we prove who we are, and where things are there; see `SftpSettings`."""

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

    @classmethod
    def of(cls, settings: SftpSettings) -> Self:
        """Return the server that the settings describe."""
        return cls(
            host=settings.sftp_host,
            port=settings.sftp_port,
            login=settings.sftp_login,
            known_hosts_file=settings.known_hosts_file,
            password=settings.sftp_password.get_secret_value(),
            key_file=settings.sftp_key_file,
            entry_directory=settings.entry_directory,
            reply_directory=settings.reply_directory,
            connect_seconds_max=settings.connect_seconds_max,
            operation_seconds_max=settings.operation_seconds_max,
        )


class SftpSession:
    """One session that is open. When it breaks, it alone is dropped: others may have opened the next one already."""

    def __init__(
        self, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient, operation_seconds_max: float
    ) -> None:
        """Made by `SftpConnection`. `client` is what to ask; every answer is awaited with `within`."""
        self.client = client
        self.is_open = True
        self._connection = connection
        self._seconds_max = operation_seconds_max

    async def within(self, operation: Awaitable[T]) -> T:
        """Return what an operation does, within its bound. What the server answers (SFTPError) goes through.

        Raises:
            UnavailableError: the connection was lost, or the time is over; it is cut.
        """
        # Cutting ends whatever waits for the server. Cancelling would not: asyncssh then asks it to close a handle.
        late = asyncio.get_running_loop().call_later(self._seconds_max, self.cut)
        try:
            with asking(PARTY):
                return await operation
        except _LOST as error:
            self.cut()
            raise _unavailable(error) from error
        finally:
            late.cancel()

    async def entries(self, directory: str) -> AsyncGenerator[asyncssh.SFTPName, None]:
        """Yield what a directory holds, as it comes: the bound is for each answer, however many they are.

        Raises:
            UnavailableError: as `within`.
        """
        entries = cast("AsyncGenerator[asyncssh.SFTPName, None]", self.client.scandir(directory))
        try:
            while (entry := await self.within(anext(entries, None))) is not None:
                yield entry
        finally:
            with suppress(UnavailableError):
                await self.within(entries.aclose())

    def cut(self) -> None:
        """Drop the connection at once, as a broken cable would."""
        self.is_open = False
        self._connection.abort()

    async def wait_closed(self) -> None:
        """Wait for a moment until the connection is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._connection.wait_closed()


class SftpConnection:
    """See the module."""

    def __init__(self, server: SftpServer) -> None:
        """Prepare to reach this server; nothing is opened yet."""
        self._server = server
        self._opening = asyncio.Lock()
        self._session: SftpSession | None = None

    @property
    def is_open(self) -> bool:
        """True while we believe to be connected."""
        return self._session is not None and self._session.is_open

    async def session(self) -> SftpSession:
        """Return the session, opened if need be.

        Raises:
            UnavailableError: the server does not answer, refuses us, or is not the one we know.
        """
        async with self._opening:
            if self._session is None or not self._session.is_open:
                with tracing.step("sftp open"):
                    self._session = await self._open()
            return self._session

    async def aclose(self) -> None:
        """Drop the connection, and wait for a moment until it is gone."""
        session, self._session = self._session, None
        if session is not None:
            session.cut()
            await session.wait_closed()

    async def _open(self) -> SftpSession:
        server = self._server
        connection = await _in_time(self._connect(), server.connect_seconds_max)
        try:
            # A server may hold names that are not UTF-8: one of them must not hide the others.
            starting = connection.start_sftp_client(path_errors="surrogateescape")
            client = await _in_time(starting, server.operation_seconds_max)
        except asyncssh.SFTPError as error:
            connection.abort()
            raise UnavailableError(PARTY, f"no SFTP session: {said(error)}") from error
        except BaseException:
            connection.abort()
            raise
        return SftpSession(connection, client, server.operation_seconds_max)

    def _connect(self) -> Awaitable[asyncssh.SSHClientConnection]:
        server = self._server
        return asyncssh.connect(
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


async def _in_time(operation: Awaitable[T], seconds_max: float) -> T:
    try:
        async with asyncio.timeout(seconds_max):
            with asking(PARTY):
                return await operation
    except _NOT_OPENED as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(PARTY, str(error) or type(error).__name__)


def is_reply(name: str, attrs: asyncssh.SFTPAttrs) -> bool:
    """Say whether an entry of the reply directory is a reply: one that `ack` collects and `gateway` waits for."""
    return attrs.type in _FILES and "/" not in name and not name.startswith(_NOT_REPLIES)


def joined(directory: str, name: str) -> str:
    """Return the path of a file in a directory of the server."""
    return f"{directory.rstrip('/')}/{name}"


def said(error: asyncssh.SFTPError) -> str:
    """Return what the server answered, for an operator."""
    return f"{error.reason} (code {error.code})"

"""DGFiP's server over SFTP: one connection, kept, and opened again when it is lost.

Nothing of asyncssh leaves this module. `connect` and `in_our_words` know nothing of replies.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self, cast

import asyncssh

from services.ack.ports import FileChangedError, FileRefusedError, RemoteFile
from shared.errors import UnavailableError

CHUNK_BYTES = 1024 * 1024
KEEPALIVE_SECONDS = 30
# Not every server says what a name stands for.
_FILES = frozenset({asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN})


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what goes wrong with a server into `UnavailableError`, and what it refuses into `FileRefusedError`."""
    try:
        yield
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
        raise UnavailableError("sftp", str(error)) from error
    except asyncssh.SFTPError as error:
        raise FileRefusedError(f"{type(error).__name__}: {error}") from error
    except (asyncssh.Error, OSError) as error:  # TimeoutError is an OSError
        raise UnavailableError("sftp", str(error) or type(error).__name__) from error


async def connect(
    host: str, port: int, *, user: str, password: str, known_hosts_file: Path, timeout_seconds: float
) -> asyncssh.SSHClientConnection:
    """Open a connection, by password, to a server that has the host key we know.

    Raises:
        UnavailableError: it does not answer, refuses the password, or has another host key.
    """
    with in_our_words():
        async with asyncio.timeout(timeout_seconds):
            return await asyncssh.connect(
                host,
                port,
                username=user,
                password=password,
                known_hosts=str(known_hosts_file),
                client_keys=None,
                agent_path=None,
                config=None,
                keepalive_interval=KEEPALIVE_SECONDS,
            )


class SftpReplies:
    """The reply directory of DGFiP's server; see `ports.ReplyServer`. For one task at a time."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        password: str,
        known_hosts_file: Path,
        directory: str,
        connect_timeout_seconds: float,
        operation_timeout_seconds: float,
    ) -> None:
        """Prepare to connect; nothing is opened before it is needed."""
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._known_hosts_file = known_hosts_file
        self._directory = directory
        self._connect_timeout_seconds = connect_timeout_seconds
        self._operation_timeout_seconds = operation_timeout_seconds
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    async def __aenter__(self) -> Self:
        """Nothing to open yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        self._drop()

    async def listing(self) -> list[RemoteFile]:
        """See `ReplyServer.listing`."""
        try:
            async with self._step() as sftp:
                entries = [entry async for entry in sftp.scandir(self._directory)]
        except FileRefusedError as error:  # without the directory there is nothing to go on with
            raise UnavailableError("sftp", f"{self._directory}: {error}") from error
        files = [_file(str(entry.filename), entry.attrs) for entry in entries if entry.attrs.type in _FILES]
        return [file for file in files if "/" not in file.name]

    async def read(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """See `ReplyServer.read`."""
        async with self._step() as sftp:
            handle = await sftp.open(_join(self._directory, file.name), "rb")
        try:
            left = file.size
            while left:
                async with self._step():
                    chunk = await handle.read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise FileChangedError("it is shorter than it was listed")
                left -= len(chunk)
                yield cast("bytes", chunk)  # opened as binary
            async with self._step():
                attrs = await handle.stat()
            if _file(file.name, attrs) != file:
                raise FileChangedError("it changed while it was read")
        finally:
            with suppress(UnavailableError, FileRefusedError):  # the server closes what we cannot
                async with self._step():
                    await handle.close()

    async def move(self, file: RemoteFile, directory: str, sha256: str) -> None:
        """See `ReplyServer.move`."""
        source = _join(self._directory, file.name)
        async with self._step() as sftp:
            try:
                attrs = await sftp.stat(source)
            except asyncssh.SFTPNoSuchFile:
                return  # another process moved it, or the server keeps its own house
            if _file(file.name, attrs) == file:
                await _rename(sftp, source, _join(directory, file.name), sha256)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """Lend the session for one step of bounded time; it is opened if needed, and dropped if it fails."""
        try:
            with in_our_words():
                async with asyncio.timeout(self._operation_timeout_seconds):
                    yield await self._session()
        except UnavailableError:
            self._drop()
            raise

    async def _session(self) -> asyncssh.SFTPClient:
        if self._client is None:
            self._connection = await connect(
                self._host,
                self._port,
                user=self._user,
                password=self._password,
                known_hosts_file=self._known_hosts_file,
                timeout_seconds=self._connect_timeout_seconds,
            )
            # A server may hold names that are not UTF-8: one of them must not hide the others.
            self._client = await self._connection.start_sftp_client(path_errors="surrogateescape")
        return self._client

    def _drop(self) -> None:
        self._client = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


async def _rename(sftp: asyncssh.SFTPClient, source: str, target: str, sha256: str) -> None:
    """Rename without losing what has the name already: only the very same bytes may be replaced."""
    try:
        await sftp.rename(source, target)
    except (asyncssh.SFTPFileAlreadyExists, asyncssh.SFTPFailure):  # which of them depends on the server's version
        await sftp.posix_rename(source, f"{target}.{sha256}")


def _file(name: str, attrs: asyncssh.SFTPAttrs) -> RemoteFile:
    return RemoteFile(modified_at=int(attrs.mtime or 0), name=name, size=attrs.size or 0)


def _join(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"

"""DGFiP's reply directory over SFTP. Implements `services.ack.ports.ReplyServer`; nothing of asyncssh leaves here."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import asyncssh

from services.ack.ports import FileChangedError, FileRefusedError, RemoteFile
from shared.errors import UnavailableError
from shared.runtime.sftp import PARTY, PIECE_BYTES, SftpConnection, SftpServer, SftpSession, is_reply, joined, said


class SftpReplies:
    """See the module. For one task at a time."""

    def __init__(self, server: SftpServer) -> None:
        """Prepare to reach this server; nothing is opened yet."""
        self._directory = server.reply_directory
        self._connection = SftpConnection(server)

    async def listing(self) -> list[RemoteFile]:
        """See `ReplyServer.listing`."""
        session = await self._connection.session()
        try:
            entries = [entry async for entry in session.entries(self._directory)]
        except asyncssh.SFTPError as error:  # without the directory there is nothing to go on with
            raise UnavailableError(PARTY, f"the replies cannot be listed: {said(error)}") from error
        files = [(str(entry.filename), entry.attrs) for entry in entries]
        return [_file(name, attrs) for name, attrs in files if is_reply(name, attrs)]

    async def read(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """See `ReplyServer.read`."""
        session = await self._connection.session()
        with _refused():
            handle = await session.within(session.client.open(self._path(file), "rb"))
        try:
            left = file.size
            while left:
                with _refused():
                    chunk = await session.within(handle.read(min(left, PIECE_BYTES)))
                if not chunk:
                    raise FileChangedError("it is shorter than it was listed")
                left -= len(chunk)
                yield cast("bytes", chunk)  # opened as binary
            with _refused():
                attrs = await session.within(handle.stat())
            if _file(file.name, attrs) != file:
                raise FileChangedError("it changed while it was read")
        finally:
            with suppress(UnavailableError, asyncssh.SFTPError):  # the server closes what we cannot
                await session.within(handle.close())

    async def move(self, file: RemoteFile, directory: str, sha256: str) -> None:
        """See `ReplyServer.move`."""
        session = await self._connection.session()
        source = self._path(file)
        with _refused():
            try:
                attrs = await session.within(session.client.stat(source))
            except asyncssh.SFTPNoSuchFile:
                return  # another process moved it, or the server keeps its own house
            if _file(file.name, attrs) == file:
                await self._rename(session, source, joined(directory, file.name), sha256)

    async def aclose(self) -> None:
        """Drop the connection; the next use opens another."""
        await self._connection.aclose()

    async def _rename(self, session: SftpSession, source: str, target: str, sha256: str) -> None:
        """Rename without losing what has the name already: only the very same bytes may be replaced."""
        try:
            await session.within(session.client.rename(source, target))
        except (asyncssh.SFTPFileAlreadyExists, asyncssh.SFTPFailure):  # which of them: by the server's version
            await session.within(session.client.posix_rename(source, f"{target}.{sha256}"))

    def _path(self, file: RemoteFile) -> str:
        return joined(self._directory, file.name)


@contextmanager
def _refused() -> Iterator[None]:
    """Turn what the server refuses into our words."""
    try:
        yield
    except asyncssh.SFTPError as error:
        raise FileRefusedError(said(error)) from error


def _file(name: str, attrs: asyncssh.SFTPAttrs) -> RemoteFile:
    return RemoteFile(modified_at=int(attrs.mtime or 0), name=name, size=attrs.size or 0)

"""DGFiP's entry directory over SFTP (Passtrans). Implements `services.gateway.ports.Channel`.

Nothing of asyncssh leaves here. A file that could not be sent whole is never *closed*: closing is what tells the
other side that it is complete; the connection is cut instead.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import asyncssh

from services.gateway.ports import UploadRefusedError
from shared import tracing
from shared.errors import UnavailableError
from shared.runtime.sftp import PARTY, PIECE_BYTES, SftpConnection, SftpServer, SftpSession, is_reply, joined, said

CHANNEL = "passtrans-sftp"


class SftpChannel:
    """See the module."""

    name = CHANNEL

    def __init__(self, server: SftpServer) -> None:
        """Prepare to reach this server; nothing is opened yet."""
        self._server = server
        self._connection = SftpConnection(server)

    async def open(self) -> None:
        """See `Channel.open`."""
        if self._connection.is_open:
            with suppress(UnavailableError):  # lost while nobody looked: once more, on a new connection
                await self._ask_for_entry()
                return
        await self._ask_for_entry()

    async def size_of(self, remote_name: str) -> int | None:
        """See `Channel.size_of`."""
        session = await self._connection.session()
        try:
            return (await session.within(session.client.stat(self._path(remote_name)))).size
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"a file cannot be looked at: {said(error)}") from error

    async def has_unread_replies(self) -> bool:
        """See `Channel.has_unread_replies`."""
        session = await self._connection.session()
        try:
            async with aclosing(session.entries(self._server.reply_directory)) as entries:
                async for entry in entries:
                    if is_reply(str(entry.filename), entry.attrs):
                        return True
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"the replies cannot be listed: {said(error)}") from error
        return False

    async def put(self, remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        """See `Channel.put`."""
        with tracing.step("sftp put"):
            await self._put(remote_name, chunks)

    async def _put(self, remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        session = await self._connection.session()
        try:
            file = await session.within(session.client.open(self._path(remote_name), "wb"))
        except asyncssh.SFTPError as error:
            raise UploadRefusedError(said(error)) from error
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), PIECE_BYTES):
                    await session.within(file.write(chunk[start : start + PIECE_BYTES]))
        except asyncssh.SFTPError as error:
            await self._take_back(session, remote_name, file)
            raise UploadRefusedError(said(error)) from error
        except BaseException:
            session.cut()
            raise
        try:
            await session.within(file.close())
        except asyncssh.SFTPError as error:  # nobody can tell what the server made of it
            session.cut()
            raise UnavailableError(PARTY, f"a file could not be closed: {said(error)}") from error

    async def check(self) -> None:
        """Return if the server answers; raise `UnavailableError` if not."""
        await self.open()

    async def aclose(self) -> None:
        """Drop the connection; the next use opens another."""
        await self._connection.aclose()

    async def _ask_for_entry(self) -> None:
        session = await self._connection.session()
        try:
            await session.within(session.client.stat(self._server.entry_directory))
        except asyncssh.SFTPError as error:
            raise UnavailableError(PARTY, f"the entry directory cannot be seen: {said(error)}") from error

    async def _take_back(self, session: SftpSession, remote_name: str, file: asyncssh.SFTPClientFile) -> None:
        """Take away what was written of a refused file; it may be closed then, without harm to other files."""
        try:
            await session.within(session.client.remove(self._path(remote_name)))
            await session.within(file.close())
        except (asyncssh.SFTPError, UnavailableError):
            session.cut()

    def _path(self, remote_name: str) -> str:
        return joined(self._server.entry_directory, remote_name)

"""DGFiP's entry directory in memory. Implements `services.gateway.ports.Channel`; passes the same tests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncssh

from services.gateway.ports import UploadRefusedError
from shared.errors import UnavailableError
from shared.runtime.sftp import is_reply

NAME_CHARACTERS_MAX = 255


@dataclass
class SimulatedChannel:
    """A server that can be told to fail.

    Attributes:
        is_down: nobody answers.
        takes: whether DGFiP takes a file out of the directory as soon as it is complete.
        is_lost_before_the_first_byte: the connection is lost before the server is ready for the next file.
        cut_after_bytes: the connection is lost once the server has that many bytes of the next file.
        is_last_word_lost: the connection is lost once the server has the whole of the next file.
        refusal: what the server says to every file, if anything.
        files: what lies in the entry directory.
        received: the complete files, in order, by name.
        reply_names: what lies in the reply directory.
    """

    name: str = "passtrans-sftp"
    is_down: bool = False
    takes: bool = True
    is_lost_before_the_first_byte: bool = False
    cut_after_bytes: int | None = None
    is_last_word_lost: bool = False
    refusal: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    received: list[tuple[str, bytes]] = field(default_factory=list)
    reply_names: list[str] = field(default_factory=list)

    async def open(self) -> None:
        """See `Channel.open`."""
        if self.is_down:
            raise UnavailableError("sftp", "simulated")

    async def size_of(self, remote_name: str) -> int | None:
        """See `Channel.size_of`."""
        await self.open()
        return len(self.files[remote_name]) if remote_name in self.files else None

    async def has_unread_replies(self) -> bool:
        """See `Channel.has_unread_replies`."""
        await self.open()
        regular = asyncssh.SFTPAttrs(type=asyncssh.FILEXFER_TYPE_REGULAR)
        return any(is_reply(name, regular) for name in self.reply_names)

    async def put(self, remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        """See `Channel.put`."""
        await self.open()
        if self.is_lost_before_the_first_byte:
            self.is_lost_before_the_first_byte = False
            raise UnavailableError("sftp", "cut")
        if self.refusal or len(remote_name) > NAME_CHARACTERS_MAX:
            raise UploadRefusedError(self.refusal or "name too long")
        self.files[remote_name] = b""
        async for chunk in chunks:
            await self.open()
            self.files[remote_name] += chunk
            if self.cut_after_bytes is not None and len(self.files[remote_name]) >= self.cut_after_bytes:
                self.files[remote_name] = self.files[remote_name][: self.cut_after_bytes]
                self.cut_after_bytes = None
                raise UnavailableError("sftp", "cut")
        self.received.append((remote_name, self.files[remote_name]))
        if self.takes:
            del self.files[remote_name]
        if self.is_last_word_lost:
            self.is_last_word_lost = False
            raise UnavailableError("sftp", "cut")

"""DGFiP's reply directory in memory. Implements `services.ack.ports.ReplyServer`; passes the same tests."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import asyncssh

from services.ack.ports import FileChangedError, FileRefusedError, RemoteFile
from shared.errors import UnavailableError
from shared.runtime.sftp import is_reply


@dataclass
class SimulatedReplies:
    """A server that can be told to fail.

    Attributes:
        files: what lies in the reply directory: when it was written, and its bytes.
        moved: what was moved aside, by its path.
        is_down: nobody answers.
        is_down_for_moves: the connection is lost each time a file is to be moved.
        refuses: the names that the server does not give.
    """

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    moved: dict[str, bytes] = field(default_factory=dict)
    is_down: bool = False
    is_down_for_moves: bool = False
    refuses: set[str] = field(default_factory=set)
    reads: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes, modified_at: int = 1) -> None:
        """Have a file appear, or grow."""
        self.files[name] = (modified_at, content)

    async def listing(self) -> list[RemoteFile]:
        """See `ReplyServer.listing`."""
        self._answer()
        return [
            RemoteFile(at, name, len(content))
            for name, (at, content) in self.files.items()
            if is_reply(name, asyncssh.SFTPAttrs(type=asyncssh.FILEXFER_TYPE_REGULAR))
        ]

    async def read(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """See `ReplyServer.read`."""
        self._answer()
        self.reads.append(file.name)
        if file.name in self.refuses or file.name not in self.files:
            raise FileRefusedError(file.name)
        at, content = self.files[file.name]
        for start in range(0, min(len(content), file.size), 1000):
            yield content[start : min(start + 1000, file.size)]
        if RemoteFile(at, file.name, len(content)) != file:
            raise FileChangedError(file.name)

    async def move(self, file: RemoteFile, directory: str, sha256: str) -> None:
        """See `ReplyServer.move`."""
        if self.is_down_for_moves:
            raise UnavailableError("sftp", "simulated")
        self._answer()
        at, content = self.files.get(file.name, (0, b""))
        if RemoteFile(at, file.name, len(content)) != file:
            return
        target = f"{directory}/{file.name}"
        self.moved[f"{target}.{sha256}" if target in self.moved else target] = content
        del self.files[file.name]

    def _answer(self) -> None:
        if self.is_down:
            raise UnavailableError("sftp", "simulated")

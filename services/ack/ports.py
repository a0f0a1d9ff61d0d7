"""What `ack` needs from outside, in its own words."""

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from typing import Protocol

from shared.errors import PesError
from shared.facts.events import Document


class FileRefusedError(PesError):
    """The server refused one step on one file. Go on with the others; this one is tried at the next pass."""


class FileChangedError(PesError):
    """A file is no longer as it was listed: it is still being written. The next listings will show it again."""


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file as it was listed. Two listings of it are equal only if it did not change; the oldest sorts first.

    Attributes:
        modified_at: Unix time, in seconds; 0 when the server does not say.
    """

    modified_at: int
    name: str
    size: int


class ReplyServer(Protocol):
    """DGFiP's server, as far as replies go. Every method raises `UnavailableError` when it does not answer."""

    async def listing(self) -> list[RemoteFile]:
        """Return the replies that wait in the reply directory, and nothing else that lies there."""

    def read(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """Yield a file piece by piece.

        Raises:
            FileRefusedError: the server does not give it.
            FileChangedError: what was read is not the file as it was listed; raised at the end.
        """

    async def move(self, file: RemoteFile, directory: str, sha256: str) -> None:
        """Move a file aside if it is still as it was listed; do nothing if it changed, or has gone.

        Args:
            file: the file, as listed.
            directory: where to.
            sha256: of its bytes; becomes part of its name when another file has the name already.

        Raises:
            FileRefusedError: the server does not move it.
        """


class Documents(Protocol):
    """Where replies are kept; see `shared.runtime.documents.DocumentStore` for what its methods raise."""

    async def put(self, chunks: AsyncIterable[bytes], *, bytes_max: int) -> Document:
        """Store bytes as they come."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole."""

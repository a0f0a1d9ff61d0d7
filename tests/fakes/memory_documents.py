"""The document store in memory."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field

from shared.errors import CorruptDocumentError, DocumentMissingError, TooLargeError, UnavailableError
from shared.facts.values import Document


@dataclass
class MemoryDocuments:
    """As `shared.runtime.documents.DocumentStore`; `chunk_bytes` is how much `stream` yields at once.

    While `is_full`, nothing is stored under a name.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    chunk_bytes: int = 64
    named: dict[str, bytes] = field(default_factory=dict)
    is_full: bool = False

    async def put(self, chunks: AsyncIterable[bytes], *, bytes_max: int) -> Document:
        """See `DocumentStore.put`."""
        content = b"".join([chunk async for chunk in chunks])
        if len(content) > bytes_max:
            raise TooLargeError(bytes_max)
        return await self.put_bytes(content)

    async def put_bytes(self, content: bytes) -> Document:
        """See `DocumentStore.put_bytes`."""
        document = Document(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        self.contents[document.sha256] = content
        return document

    async def read(self, sha256: str) -> bytes:
        """See `DocumentStore.read`."""
        return b"".join([chunk async for chunk in self.stream(sha256)])

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """See `DocumentStore.stream`."""
        if sha256 not in self.contents:
            raise DocumentMissingError(sha256)
        content = self.contents[sha256]
        for start in range(0, len(content), self.chunk_bytes):
            yield content[start : start + self.chunk_bytes]
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptDocumentError(sha256)

    async def put_named(self, name: str, content: bytes) -> None:
        """See `DocumentStore.put_named`."""
        if self.is_full:
            raise UnavailableError("documents", "full")
        self.named[name] = content

    async def read_named(self, name: str) -> bytes:
        """See `DocumentStore.read_named`."""
        if name not in self.named:
            raise DocumentMissingError(name)
        return self.named[name]

    async def names_under(self, folder: str) -> list[str]:
        """See `DocumentStore.names_under`."""
        below = [name.removeprefix(f"{folder}/") for name in self.named if name.startswith(f"{folder}/")]
        return [name for name in below if "/" not in name]

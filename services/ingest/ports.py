"""What `ingest` needs from outside, in its own words."""

from collections.abc import AsyncIterable
from typing import Protocol

from shared.facts.values import Document


class Documents(Protocol):
    """Where imported files are put."""

    async def put(self, chunks: AsyncIterable[bytes], *, bytes_max: int) -> Document:
        """Store bytes as they come; see `shared.runtime.documents.DocumentStore.put` for what it raises."""

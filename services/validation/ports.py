"""What `validation` needs from outside, in its own words."""

from typing import Protocol


class Documents(Protocol):
    """Where the imported files are."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole; see `shared.documents.DocumentStore.read` for what it raises."""

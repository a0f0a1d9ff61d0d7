"""What `signature` needs from outside, in its own words."""

from datetime import datetime
from typing import Protocol

from shared.events import Document


class Documents(Protocol):
    """Where flux are read, and signed flux are put."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole; see `shared.documents.DocumentStore.read` for what it raises."""

    async def put_bytes(self, content: bytes) -> Document:
        """Store bytes; see `shared.documents.DocumentStore.put_bytes`."""


class Seal(Protocol):
    """Signs on behalf of a collectivité that chose to have it done here."""

    def sign(self, document: bytes, at: datetime) -> bytes:
        """Return the document with every missing signature inserted.

        Raises:
            UnsignableError: the document cannot be signed as it is.
            UnavailableError: the seal cannot sign now (its certificate is not valid at that time).
        """

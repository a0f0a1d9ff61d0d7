"""What `signature` needs from outside, in its own words; its registries are in `registries.py`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cryptography import x509

from shared.facts.events import Document
from signing.outline import Target
from signing.trust import TrustList


class Documents(Protocol):
    """Where flux are read, and signed flux are put."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole; see `shared.runtime.documents.DocumentStore.read` for what it raises."""

    async def put_bytes(self, content: bytes) -> Document:
        """Store bytes; see `shared.runtime.documents.DocumentStore.put_bytes`."""


class Trust(Protocol):
    """Whom the platform trusts."""

    def current(self) -> TrustList:
        """Return the trust list as it is now; raise `UnavailableError` when it cannot be read."""


class Seal(Protocol):
    """Signs on behalf of the collectivités that chose to have it done here."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate it signs with."""

    def serves(self, collectivite: str) -> bool:
        """Say whether a collectivité chose it."""

    def sign(self, document: bytes, chosen: Sequence[Target], at: datetime) -> bytes:
        """Return the document with these signatures inserted.

        Raises:
            UnsignableError: the document cannot be signed as it is.
            UnavailableError: the seal cannot sign now (its certificate is not valid at that time, its token is away).
        """

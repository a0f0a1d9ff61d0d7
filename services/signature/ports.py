"""What `signature` needs from outside, in its own words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cryptography import x509

from services.signature.circuits import Circuit, Delegation, SealChoice
from services.signature.mandates import Mandate, NamedCertificate
from shared.facts.values import Document
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
    """Signs by itself; for whom, the registries say."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate it signs with."""

    def sign(self, document: bytes, chosen: Sequence[Target], at: datetime) -> bytes:
        """Return the document with these signatures inserted.

        Raises:
            UnsignableError: the document cannot be signed as it is.
            UnavailableError: the seal cannot sign now (its certificate is not valid at that time, its token is away).
        """


class Registries(Protocol):
    """Who may sign for a collectivité, who takes which step, who stands in for whom, who chose the seal.

    They follow from the facts of collectivités and of the platform's defaults: to change them is to record one.
    """

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """Return every mandate of a collectivité, with its end if it was ended; the first recorded first."""

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """Return a mandate of whatever collectivité, if there is one of that id."""

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """Return what the mandates of all name that have not ended at an instant; the first to expire first."""

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """Return the circuits that apply to a collectivité, at most one for each kind of flux: see `applying`."""

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """Return what was set for a collectivité, and for all of them; the last first, at most 1000."""

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """Return every delegation of a collectivité, with its end if it was ended; the first recorded first."""

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """Return a delegation of whatever collectivité, if there is one of that id."""

    async def seal_choice(self, collectivite: str) -> SealChoice | None:
        """Return what a collectivité said of the seal, or else what was said for all, if anything was."""

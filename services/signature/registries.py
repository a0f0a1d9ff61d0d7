"""The registries that `signature` keeps, in its own words: mandates, circuits, delegations.

Nothing in them is ever changed: what ends gets its end beside it, and the earliest end counts.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from services.signature.circuits import Circuit, Delegation
from services.signature.mandates import Mandate

EVERYONE: Final = "*"  # the collectivité of a circuit that is set for all of them


class NamedCertificate(NamedTuple):
    """A certificate that a mandate names, and when it expires."""

    collectivite: str
    name: str
    certificate_sha256: str
    certificate_until: datetime


class Registries(Protocol):
    """Who may sign for a collectivité, who takes which step, who stands in for whom."""

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """Return every mandate of a collectivité, with its end if it was ended; the first recorded first."""

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """Return a mandate of whatever collectivité, if there is one of that id."""

    async def record_mandate(self, mandate: Mandate, certificate_pem: str, reason: str = "") -> bool:
        """Record a mandate, once; False, and nothing done, when one has its id.

        Args:
            mandate: with who recorded it and when.
            certificate_pem: the certificate it names; empty when it names none.
            reason: why an operator recorded it in place of the collectivité.
        """

    async def end_mandate(self, mandate_id: UUID, at: datetime, reason: str, by: str) -> bool:
        """Record the end of a mandate; False when there is none of that id."""

    async def mandate_reasons(self, collectivite: str) -> Mapping[UUID, str]:
        """Return why an operator recorded each mandate that one recorded in place of the collectivité."""

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """Return what the mandates of all name that have not ended at an instant; the first to expire first."""

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """Return the circuits that apply to a collectivité, at most one for each kind of flux: see `applying`."""

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """Return what was set for a collectivité, and for all of them; the last first, at most 1000."""

    async def set_circuit(self, circuit: Circuit) -> None:
        """Record a circuit, with who set it and when; without steps, it takes back the one before."""

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """Return every delegation of a collectivité, with its end if it was ended; the first recorded first."""

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """Return a delegation of whatever collectivité, if there is one of that id."""

    async def record_delegation(self, delegation: Delegation) -> bool:
        """Record a delegation, with who recorded it and when; False, and nothing done, when one has its id."""

    async def end_delegation(self, delegation_id: UUID, at: datetime, reason: str, by: str) -> bool:
        """Record the end of a delegation; False when there is none of that id."""


def applying(collectivite: str, last_set: Iterable[Circuit]) -> list[Circuit]:
    """Return the circuits that apply to a collectivité, by kind of flux.

    Its own come before those of all. One of its own for every kind of flux leaves no room for those of all: a circuit
    that the host sets for one kind does not take the place of what a collectivité decided for all of its flux.

    Args:
        collectivite: whose flux.
        last_set: the last circuit set for each kind of flux, for it and for all; without steps: taken back.
    """
    kept = [circuit for circuit in last_set if circuit.steps]
    own = {circuit.flux_kind: circuit for circuit in kept if circuit.collectivite == collectivite}
    of_all = {circuit.flux_kind: circuit for circuit in kept if circuit.collectivite == EVERYONE}
    chosen = own if EVERYONE in own else of_all | own
    return [chosen[kind] for kind in sorted(chosen)]

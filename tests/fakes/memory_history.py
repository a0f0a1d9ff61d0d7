"""The journal in memory: the same promises as `shared.journal.history.PostgresHistory`, for one process."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.errors import ClaimTakenError, UnavailableError, VersionConflictError
from shared.facts.envelope import Event
from shared.facts.events import FluxValidated
from shared.facts.reservations import Claim, claims_of, releases_of
from shared.journal.history import number


@dataclass
class MemoryHistory:
    """Implements `shared.journal.history.History`.

    Attributes:
        is_down: nothing answers while it is True.
        log: every event, in the order in which they were recorded.
    """

    is_down: bool = False
    log: list[Event] = field(default_factory=list)
    claims: dict[Claim, UUID] = field(default_factory=dict)

    async def load(self, flux_id: UUID) -> list[Event]:
        """See `History.load`."""
        self._answer()
        return [event for event in self.log if event.flux_id == flux_id]

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        """See `History.append`."""
        self._answer()
        numbered = number(events, expected_version)
        flux_id = numbered[0].flux_id
        if len([event for event in self.log if event.flux_id == flux_id]) != expected_version:
            raise VersionConflictError(flux_id, expected_version)
        claims = dict(self.claims)
        for event in numbered:
            for release in releases_of(event.data):
                claims = {
                    one: holder
                    for one, holder in claims.items()
                    if (holder, one.kind) != (flux_id, release.kind) or not one.value.startswith(release.prefix)
                }
            for claim in claims_of(event.data, event.collectivite):
                if claim in claims:
                    raise ClaimTakenError(claim.kind, claims[claim])
                claims[claim] = flux_id
        self.claims = claims
        self.log.extend(numbered)
        return numbered

    async def holder(self, claim: Claim) -> UUID | None:
        """See `History.holder`."""
        self._answer()
        return self.claims.get(claim)

    async def holders(self, claims: Sequence[Claim]) -> dict[Claim, UUID]:
        """See `History.holders`."""
        self._answer()
        return {claim: self.claims[claim] for claim in claims if claim in self.claims}

    async def validated_with_nomfic(self, nomfic: str) -> list[UUID]:
        """See `History.validated_with_nomfic`."""
        self._answer()
        return [
            event.flux_id
            for event in self.log
            if isinstance(event.data, FluxValidated) and event.data.header.nomfic == nomfic
        ]

    async def whose_last_fact_is(self, kind: str, collectivites: Collection[str] | None = None) -> list[UUID]:
        """See `History.whose_last_fact_is`."""
        self._answer()
        last = {event.flux_id: index for index, event in enumerate(self.log)}
        found = [self.log[index] for index in sorted(last.values()) if self.log[index].kind == kind]
        return [event.flux_id for event in found if collectivites is None or event.collectivite in collectivites]

    def _answer(self) -> None:
        if self.is_down:
            raise UnavailableError("postgresql", "simulated")

"""The journal in memory: the same promises as `shared.journal.history.PostgresHistory`, for one process."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.errors import NameTakenError, UnavailableError, VersionConflictError
from shared.facts.envelope import Event
from shared.facts.flux import FluxValidated
from shared.facts.reservations import Reservation, releases_of, reservations_of
from shared.journal.history import Recorded, number


@dataclass
class MemoryHistory:
    """Implements `shared.journal.history.History`.

    Attributes:
        is_down: nothing answers while it is True.
        log: every event, in the order in which they were recorded.
    """

    is_down: bool = False
    log: list[Event] = field(default_factory=list)
    held: dict[Reservation, UUID] = field(default_factory=dict)

    async def load(self, stream_id: UUID) -> list[Event]:
        """See `History.load`."""
        self._answer()
        return [event for event in self.log if event.stream_id == stream_id]

    async def recorded(self, stream_id: UUID, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """See `History.recorded`."""
        past = [event for event in await self.load(stream_id) if event.version > after]
        return [Recorded(one.version, one.kind, one.collectivite, one.to_bytes().decode()) for one in past[:limit]]

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        """See `History.append`."""
        self._answer()
        numbered = number(events, expected_version)
        stream_id = numbered[0].stream_id
        if len([event for event in self.log if event.stream_id == stream_id]) != expected_version:
            raise VersionConflictError(stream_id, expected_version)
        names = dict(self.held)
        for event in numbered:
            for release in releases_of(event.data):
                names = {
                    one: holder
                    for one, holder in names.items()
                    if (holder, one.kind) != (stream_id, release.kind) or not one.value.startswith(release.prefix)
                }
            for name in reservations_of(event.data, event.collectivite):
                if name in names:
                    raise NameTakenError(name.kind, names[name])
                names[name] = stream_id
        self.held = names
        self.log.extend(numbered)
        return numbered

    async def holder(self, name: Reservation) -> UUID | None:
        """See `History.holder`."""
        self._answer()
        return self.held.get(name)

    async def holders(self, names: Sequence[Reservation]) -> dict[Reservation, UUID]:
        """See `History.holders`."""
        self._answer()
        return {name: self.held[name] for name in names if name in self.held}

    async def validated_with_nomfic(self, nomfic: str) -> list[UUID]:
        """See `History.validated_with_nomfic`."""
        self._answer()
        return [
            event.stream_id
            for event in self.log
            if isinstance(event.data, FluxValidated) and event.data.header.nomfic == nomfic
        ]

    async def whose_last_fact_is(self, kind: str, collectivites: Collection[str] | None = None) -> list[UUID]:
        """See `History.whose_last_fact_is`."""
        self._answer()
        last = {event.stream_id: index for index, event in enumerate(self.log)}
        found = [self.log[index] for index in sorted(last.values()) if self.log[index].kind == kind]
        return [event.stream_id for event in found if collectivites is None or event.collectivite in collectivites]

    def _answer(self) -> None:
        if self.is_down:
            raise UnavailableError("postgresql", "simulated")

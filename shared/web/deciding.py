"""What a person asks of one flux: load it, decide, append; again if someone appended first. One way for every API."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.facts.envelope import Event
from shared.facts.events import Fact
from shared.facts.lifecycle import Flux, fold
from shared.journal.history import History
from shared.retrying import until_no_conflict
from shared.web.auth import Caller
from shared.web.problems import flux_not_found

Decide = Callable[[Flux, Sequence[Event]], Sequence[Fact]]


@dataclass(frozen=True)
class Decided:
    """What was decided on a flux.

    Attributes:
        flux: as it is now.
        recorded: what was appended; nothing when there was nothing left to do.
    """

    flux: Flux
    recorded: tuple[Event, ...] = ()


async def decide_on(
    flux_id: UUID, decide: Decide, *, who: Caller, history: History, now: Callable[[], datetime]
) -> Decided:
    """Record what `decide` makes of a flux and of its events; it may be asked again, each time of the flux as it is.

    Raises:
        RequestRefusedError: there is no such flux, or the caller may not see it; else as `decide` says.
        VersionConflictError: the flux moves faster than we can follow.
    """

    async def attempt() -> Decided:
        past = await history.load(flux_id)
        flux = fold(event.data for event in past)
        # A reply that belongs to no flux has a stream of its own, which is no flux: nobody imported it.
        if flux.imported is None or not who.may_see(past[0].collectivite):
            raise flux_not_found(flux_id)
        events = [past[-1].follow(fact, actor=who.subject, at=now()) for fact in decide(flux, past)]
        if not events:
            return Decided(flux)
        recorded = await history.append(events, expected_version=flux.version)
        return Decided(fold(event.data for event in [*past, *recorded]), tuple(recorded))

    return await until_no_conflict(attempt)

"""What a person asks of one flux, or of another stream: load, decide, append; again if someone appended first.

One way for every API. What one may not see does not exist (404); what one sees and may not do is refused (403).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.facts.envelope import Event, new_id
from shared.facts.events import Fact, FluxImported
from shared.facts.lifecycle import Flux, fold
from shared.facts.streams import Stream, StreamKind
from shared.journal.history import History
from shared.retrying import until_no_conflict
from shared.web.auth import Caller, Right
from shared.web.problems import flux_not_found

Decide = Callable[[Flux, Sequence[Event]], Sequence[Fact]]


@dataclass(frozen=True)
class VisibleFlux:
    """A flux as it is, and its events, for someone who may see it."""

    flux: Flux
    past: Sequence[Event]

    @property
    def last(self) -> Event:
        """The event that comes before whatever is decided now."""
        return self.past[-1]

    @property
    def imported(self) -> FluxImported:
        """The fact that it began with: what begins otherwise is no flux."""
        if self.flux.imported is None:
            raise ValueError("a flux begins with its import")
        return self.flux.imported

    @property
    def collectivite(self) -> str:
        """Whose flux it is."""
        return self.last.collectivite


async def load_flux(
    flux_id: UUID,
    *,
    who: Caller,
    history: History,
    right: Right = Right.READ,
    action: str = "consulter les flux",
) -> VisibleFlux:
    """Return a flux in whose collectivité the caller has a right; `action` (French) completes the refusal.

    Raises:
        RequestRefusedError: the caller may see no such flux (nobody can tell whether it exists; a reply is none), or
            has not the right.
    """
    past = await history.load(flux_id)
    if not past or past[0].stream.kind is not StreamKind.FLUX or not who.may(Right.READ, past[0].collectivite):
        raise flux_not_found(flux_id)
    flux = fold(event.data for event in past)
    who.require(right, past[0].collectivite, action)
    return VisibleFlux(flux, past)


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
    flux_id: UUID,
    decide: Decide,
    *,
    who: Caller,
    right: Right,
    action: str,
    history: History,
    now: Callable[[], datetime],
) -> Decided:
    """Record what `decide` makes of a flux and of its events; it may be asked again, each time of the flux as it is.

    Raises:
        RequestRefusedError: there is no such flux, or the caller may not see it; else as `decide` says.
        VersionConflictError: the flux moves faster than we can follow.
    """

    async def attempt() -> Decided:
        known = await load_flux(flux_id, who=who, history=history, right=right, action=action)
        facts = decide(known.flux, known.past)
        events = [known.last.follow(fact, actor=who.subject, at=now()) for fact in facts]
        if not events:
            return Decided(known.flux)
        recorded = await history.append(events, expected_version=known.flux.version)
        return Decided(fold(event.data for event in [*known.past, *recorded]), tuple(recorded))

    return await until_no_conflict(attempt)


async def decide_in(
    stream: Stream,
    decide: Callable[[Sequence[Fact]], Awaitable[Sequence[Fact]]],
    *,
    collectivite: str,
    who: Caller,
    history: History,
    now: Callable[[], datetime],
) -> list[Event]:
    """Record what `decide` makes of the facts of a stream that is no flux's; return all its events.

    The caller may do it: that was seen before. `decide` may be asked again, each time of the stream as it is.

    Raises:
        RequestRefusedError: as `decide` says.
        VersionConflictError: the stream moves faster than we can follow.
    """

    async def attempt() -> list[Event]:
        past = await history.load(stream.id)
        told: list[Event] = []
        for fact in await decide([event.data for event in past]):
            told.append(
                told[-1].follow(fact, actor=who.subject, at=now())
                if told
                else Event.first(
                    fact,
                    stream=stream,
                    collectivite=collectivite,
                    actor=who.subject,
                    correlation_id=new_id(),
                    at=now(),
                )
            )
        return [*past, *await history.append(told, expected_version=len(past))] if told else past

    return await until_no_conflict(attempt)

"""What a person asks of one flux: load it if they may see it, decide, append; again if someone appended first.

One way for every API. What one may not see does not exist (404); what one sees and may not do is refused (403).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from uuid import UUID

from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.flux import FluxImported
from shared.facts.lifecycles.flux import Flux
from shared.journal.history import History
from shared.journal.reading import read_flux
from shared.retrying import until_no_conflict
from shared.web.auth import Caller, Right
from shared.web.problems import flux_changed, flux_not_found, flux_set_aside

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
            has not the right; or this version cannot read all of it.
    """
    recorded = await history.recorded(flux_id)
    read = read_flux(recorded)
    if not read.is_of_a_flux or not who.may(Right.READ, recorded[0].collectivite):
        raise flux_not_found(flux_id)
    who.require(right, recorded[0].collectivite, action)
    if read.set_aside is not None:
        raise flux_set_aside(flux_id, read.set_aside.reason, read.set_aside.kind)
    return VisibleFlux(read.flux, read.past)


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
    seen: int | None = None,
) -> Decided:
    """Record what `decide` makes of a flux and of its events; it may be asked again, each time of the flux as it is.

    Args:
        flux_id: which flux.
        decide: what to make of it.
        who: whoever asks.
        right: what they need.
        action: what they do, in French.
        history: the journal.
        now: the clock.
        seen: the version of the flux that they decided on; None where it does not matter.

    Raises:
        RequestRefusedError: there is no such flux, or the caller may not see it; or they have not seen what it has
            become; else as `decide` says.
        VersionConflictError: the flux moves faster than we can follow.
    """

    async def attempt() -> Decided:
        known = await load_flux(flux_id, who=who, history=history, right=right, action=action)
        facts = decide(known.flux, known.past)
        if facts and seen is not None and seen != known.flux.version:
            raise flux_changed(flux_id, known.flux.on_screen, known.flux.version)
        if not facts:
            return Decided(known.flux)
        after = reduce(Flux.evolve, facts, known.flux)
        events = [known.last.follow(fact, actor=who.subject, at=now()) for fact in facts]
        recorded = await history.append(events, expected_version=known.flux.version)
        return Decided(after, tuple(recorded))

    return await until_no_conflict(attempt)

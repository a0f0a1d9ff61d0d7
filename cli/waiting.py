"""Waits for a flux to reach a state, or to be past it, or never to be able to reach it."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from cli.api import Api
from cli.errors import UnreachableError
from cli.showing.timeline import known_events, members_of
from shared.errors import UnexpectedFactError
from shared.facts.envelope import Event
from shared.facts.lifecycles.flux import Flux, State, states_ahead

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 0.5

VERDICTS = frozenset({State.ACKNOWLEDGED, State.PARTIALLY_REJECTED, State.REJECTED})
ENDS = VERDICTS | {State.INVALID, State.SIGNATURE_REFUSED, State.CANCELLED}


class Outlook(Enum):
    """Whether a state is behind, ahead, or out of reach."""

    REACHED = "reached"
    POSSIBLE = "possible"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Path:
    """The states that a flux has been in, in order; the last is where it is, `on_screen` in the words of screens."""

    states: tuple[State, ...]
    on_screen: str = ""

    @property
    def current(self) -> State | None:
        """Where the flux is."""
        return self.states[-1] if self.states else None

    def outlook(self, wanted: State) -> Outlook:
        """Say whether the flux has been in a state, or may still come to it."""
        if wanted in self.states:
            return Outlook.REACHED
        if wanted is State.AWAITING_ACK and self.current in VERDICTS:
            return Outlook.REACHED  # the answer may be recorded before the sending it answers
        return Outlook.POSSIBLE if wanted in states_ahead(self.current) else Outlook.IMPOSSIBLE


def path_of(events: Iterable[Event]) -> Path:
    """Play events through the lifecycle, and return the states they lead to."""
    flux = Flux()
    states: list[State] = []
    for event in events:
        try:
            flux = flux.evolve(event.data)
        except UnexpectedFactError:
            continue  # a fact between two was written by a newer platform
        if flux.state is not None and states[-1:] != [flux.state]:
            states.append(flux.state)
    return Path(tuple(states), flux.on_screen)


@dataclass(frozen=True)
class Waited:
    """How a wait ended.

    Attributes:
        outlook: `POSSIBLE` when the time was over.
        path: the states of the flux.
        members: its events, as JSON objects.
    """

    outlook: Outlook
    path: Path
    members: Sequence[object]


def wait_for(api: Api, flux_id: str, wanted: State | None, timeout_seconds: float) -> Waited:
    """Follow a flux until it has been in `wanted` (None: acknowledged), can no longer be, or time is over.

    Raises:
        CommandRefusedError: there is no such flux, or it is not ours to see.
        UnreachableError: the platform does not answer, and did not before either, or not until time was over.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = FIRST_PAUSE_SECONDS
    has_answered = False
    while True:
        try:
            members = members_of(api.read(f"/v1/flux/{flux_id}/events"))
        except UnreachableError:
            if not has_answered or time.monotonic() > deadline:
                raise
        else:
            has_answered = True
            path = path_of(known_events(members))
            outlook = _outlook(path, wanted)
            if outlook is not Outlook.POSSIBLE or time.monotonic() > deadline:
                return Waited(outlook, path, members)
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.3, LAST_PAUSE_SECONDS)


def _outlook(path: Path, wanted: State | None) -> Outlook:
    if wanted is not None:
        return path.outlook(wanted)
    if path.current is State.ACKNOWLEDGED:
        return Outlook.REACHED
    return Outlook.IMPOSSIBLE if path.current in ENDS else Outlook.POSSIBLE

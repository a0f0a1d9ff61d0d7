"""A flux as far as this version can read it.

A newer version may have written a fact that this one does not know, or that it cannot place. What came before still
tells something; what comes after tells nothing any more. Such a flux is *set aside*: nothing is decided on it here,
and it stops nobody else. Whoever loads one flux to decide on it gets an error instead (`NewerFactError`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import wording
from shared.errors import MalformedMessageError, UnexpectedFactError
from shared.facts.envelope import Event, read_event
from shared.facts.lifecycles.flux import Flux
from shared.facts.streams import BY_KIND, StreamKind
from shared.journal.history import Recorded


@dataclass(frozen=True)
class SetAside:
    """Why a flux is set aside: the first of its facts that this version cannot take in; `reason` is French."""

    version: int
    kind: str
    reason: str


@dataclass(frozen=True)
class FluxRead:
    """A flux after the facts that could be read and folded.

    Attributes:
        past: those facts; those of another kind of stream are not folded.
        version: how many facts there are, read or not.
        set_aside: why the rest could not be; None when everything was.
    """

    past: Sequence[Event]
    flux: Flux
    version: int
    set_aside: SetAside | None = None

    @property
    def is_of_a_flux(self) -> bool:
        """False when what was read shows that the stream is about something else, or that there is none."""
        return self.version > 0 and all(event.stream.kind is StreamKind.FLUX for event in self.past)


def read_flux(recorded: Sequence[Recorded]) -> FluxRead:
    """Read and fold the facts of a stream, in order, as far as that goes."""
    past: list[Event] = []
    flux = Flux()
    version = recorded[-1].version if recorded else 0
    for one in recorded:
        try:
            event = read_event(one.body)
            if event.stream.kind is StreamKind.FLUX:
                flux = flux.evolve(event.data)
        except (MalformedMessageError, UnexpectedFactError):
            reason = wording.set_aside(one.kind, is_known=one.kind in BY_KIND)
            return FluxRead(past, flux, version, SetAside(one.version, one.kind, reason))
        past.append(event)
    return FluxRead(past, flux, version)

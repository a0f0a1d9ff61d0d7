"""The lifecycle of a collectivité: open from its first fact on; what it has registered, granted and chosen so far.

`fold` keeps what decisions need: what exists already (asked twice is done once), and what may end. What holds at an
instant, for a flux, is read from the projections, which follow from the same facts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self
from uuid import UUID

from shared.facts.collectivite import (
    COLLECTIVITE_FACTS,
    ChannelChosen,
    CollectiviteOpened,
    DelegationEnded,
    DelegationGiven,
    Identifier,
    IdentifierRegistered,
    IdentifierWithdrawn,
    MandateEnded,
    MandateGranted,
    SealChosen,
    SealLeft,
)
from shared.facts.fact import Fact
from shared.facts.lifecycles.playing import following, play


class State(StrEnum):
    """Where a collectivité is."""

    OPEN = "open"


TRANSITIONS: dict[State | None, dict[type[Fact], State]] = {
    None: {CollectiviteOpened: State.OPEN},
    State.OPEN: {fact: State.OPEN for fact in COLLECTIVITE_FACTS if fact is not CollectiviteOpened},
}


@dataclass(frozen=True)
class Collectivite:
    """A collectivité as its facts tell it.

    Attributes:
        state: None before the first fact.
        version: how many facts; what an append must expect.
        identifiers: what DGFiP knows it by, now.
        channel: the one it chose; empty when it chose none.
        mandates: every mandate ever granted, by its id.
        mandate_ends: the earliest end recorded of each that was ended, by its id; so for delegations.
        has_seal: it chose the platform's seal; None while it has said nothing of it.
    """

    state: State | None = None
    version: int = 0
    siren: str = ""
    name: str = ""
    identifiers: frozenset[Identifier] = frozenset()
    channel: str = ""
    mandates: Mapping[UUID, MandateGranted] = field(default_factory=dict)
    mandate_ends: Mapping[UUID, MandateEnded] = field(default_factory=dict)
    delegations: Mapping[UUID, DelegationGiven] = field(default_factory=dict)
    delegation_ends: Mapping[UUID, DelegationEnded] = field(default_factory=dict)
    has_seal: bool | None = None

    def evolve(self, fact: Fact) -> Self:
        """Return the collectivité after `fact`.

        Raises:
            UnexpectedFactError: the table has no such transition.
        """
        after = replace(self, state=following(TRANSITIONS, self.state, fact), version=self.version + 1)
        return after._identified(fact)._granted(fact)  # noqa: SLF001  # our own class

    def _identified(self, fact: Fact) -> Self:
        match fact:
            case CollectiviteOpened():
                return replace(self, siren=fact.siren, name=fact.name)
            case IdentifierRegistered():
                return replace(self, identifiers=self.identifiers | {fact.identifier})
            case IdentifierWithdrawn():
                return replace(self, identifiers=self.identifiers - {fact.identifier})
            case ChannelChosen():
                return replace(self, channel=fact.channel)
            case SealChosen() | SealLeft():
                return replace(self, has_seal=isinstance(fact, SealChosen))
            case _:
                return self

    def _granted(self, fact: Fact) -> Self:
        match fact:
            case MandateGranted():
                return replace(self, mandates={**self.mandates, fact.mandate_id: fact})
            case MandateEnded():
                earliest = min(self.mandate_ends.get(fact.mandate_id, fact), fact, key=lambda end: end.ended_at)
                return replace(self, mandate_ends={**self.mandate_ends, fact.mandate_id: earliest})
            case DelegationGiven():
                return replace(self, delegations={**self.delegations, fact.delegation_id: fact})
            case DelegationEnded():
                first = min(self.delegation_ends.get(fact.delegation_id, fact), fact, key=lambda end: end.ended_at)
                return replace(self, delegation_ends={**self.delegation_ends, fact.delegation_id: first})
            case _:
                return self


def fold(facts: Iterable[Fact]) -> Collectivite:
    """Play facts in order, from nothing; see `play`."""
    return play(Collectivite(), facts)

"""The lifecycle of a collectivité: open from its first fact on; what it has registered, granted and chosen so far.

`fold` keeps what decisions need: what exists already (asked twice is done once, see `news`), and what may end. What
holds at an instant, for a flux, is read from the projections, which follow from the same facts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self
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
)
from shared.facts.fact import Fact
from shared.facts.lifecycles import platform
from shared.facts.lifecycles.choices import Choices
from shared.facts.lifecycles.playing import following, news, play
from shared.facts.streams import EVERY_COLLECTIVITE

FIRST: Final = "Première décision enregistrée pour cette collectivité"


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
        version: how many facts; what an append must expect. It makes it no other collectivité.
        identifiers: what DGFiP knows it by, now.
        channel: the one it chose; empty when it chose none.
        mandates: every mandate ever granted, by its id, which never names another; so for delegations.
        mandate_ends: the earliest end recorded of each that was ended, by its id; so for delegations.
        choices: what it chose of what may be set for all as well.
    """

    state: State | None = None
    version: int = field(default=0, compare=False)
    siren: str = ""
    name: str = ""
    identifiers: frozenset[Identifier] = frozenset()
    channel: str = ""
    mandates: Mapping[UUID, MandateGranted] = field(default_factory=dict)
    mandate_ends: Mapping[UUID, MandateEnded] = field(default_factory=dict)
    delegations: Mapping[UUID, DelegationGiven] = field(default_factory=dict)
    delegation_ends: Mapping[UUID, DelegationEnded] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)

    def evolve(self, fact: Fact) -> Self:
        """Return the collectivité after `fact`.

        Raises:
            UnexpectedFactError: the table has no such transition.
        """
        state, choices = following(TRANSITIONS, self.state, fact), self.choices.evolve(fact)
        after = replace(self, state=state, version=self.version + 1, choices=choices)
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
            case _:
                return self

    def _granted(self, fact: Fact) -> Self:
        match fact:
            case MandateGranted():
                return replace(self, mandates={fact.mandate_id: fact, **self.mandates})
            case MandateEnded():
                earliest = min(self.mandate_ends.get(fact.mandate_id, fact), fact, key=lambda end: end.ended_at)
                return replace(self, mandate_ends={**self.mandate_ends, fact.mandate_id: earliest})
            case DelegationGiven():
                return replace(self, delegations={fact.delegation_id: fact, **self.delegations})
            case DelegationEnded():
                first = min(self.delegation_ends.get(fact.delegation_id, fact), fact, key=lambda end: end.ended_at)
                return replace(self, delegation_ends={**self.delegation_ends, fact.delegation_id: first})
            case _:
                return self


def fold(facts: Iterable[Fact]) -> Collectivite:
    """Play facts in order, from nothing; see `play`."""
    return play(Collectivite(), facts)


def decided(known: Collectivite, siren: str, asked: Iterable[Fact], reason: str) -> list[Fact]:
    """Return what to record of what is asked of a collectivité: what is news, after what opens it if need be."""
    opening = [] if known.state else [CollectiviteOpened(siren=siren, reason=reason or FIRST)]
    told = news(known.evolve(opening[0]) if opening else known, asked)
    return [*opening, *told] if told else []


def decided_for(past: Sequence[Fact], collectivite: str, asked: Fact, reason: str) -> list[Fact]:
    """As `decided`, of the facts of a collectivité; or, for `*`, of what is set for all: nobody opens that."""
    if collectivite == EVERY_COLLECTIVITE:
        return news(platform.fold(past), [asked])
    return decided(fold(past), collectivite, [asked], reason)

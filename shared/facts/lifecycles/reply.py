"""The lifecycle of a reply that belongs to no flux: it waits until a person links it to one, or dismisses it.

A link that has its effect shows in the flux, and ends the reply; one that came too late leaves it waiting again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from pes.vocabulary import OnScreen
from shared.facts.fact import Fact
from shared.facts.flux import ReplyReceived, ReplyUnmatched
from shared.facts.lifecycles.playing import following, play
from shared.facts.reply import ReplyDismissed, ReplyLinked, ReplyUnlinked


class State(OnScreen):
    """Where a reply is."""

    WAITING = "waiting", "Réponse non rattachée"
    LINKED = "linked", "Réponse rattachée"
    DISMISSED = "dismissed", "Réponse écartée"


TRANSITIONS: dict[State | None, dict[type[Fact], State]] = {
    None: {ReplyReceived: State.WAITING},
    State.WAITING: {
        ReplyUnmatched: State.WAITING,
        ReplyLinked: State.LINKED,
        ReplyDismissed: State.DISMISSED,
    },
    State.LINKED: {ReplyUnlinked: State.WAITING},
    State.DISMISSED: {},
}


@dataclass(frozen=True)
class Reply:
    """A reply as its facts tell it: what came, why it belongs to nobody, and what somebody made of it."""

    state: State | None = None
    version: int = 0
    received: ReplyReceived | None = None
    unmatched: ReplyUnmatched | None = None
    linked: ReplyLinked | None = None

    def evolve(self, fact: Fact) -> Self:
        """Return the reply after `fact`.

        Raises:
            UnexpectedFactError: the table has no such transition.
        """
        after = replace(self, state=following(TRANSITIONS, self.state, fact), version=self.version + 1)
        match fact:
            case ReplyReceived():
                return replace(after, received=fact)
            case ReplyUnmatched():
                return replace(after, unmatched=fact)
            case ReplyLinked():
                return replace(after, linked=fact)
            case ReplyUnlinked():
                return replace(after, linked=None)
            case _:
                return after


def fold(facts: Iterable[Fact]) -> Reply:
    """Play facts in order, from nothing; see `play`."""
    return play(Reply(), facts)

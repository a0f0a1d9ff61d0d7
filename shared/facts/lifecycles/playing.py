"""Playing facts in order, through the table of whatever stream they are of."""

from collections.abc import Iterable, Mapping
from typing import Protocol, Self, TypeVar

from shared.errors import MisplacedFactError, UnexpectedFactError
from shared.facts.fact import Fact

State = TypeVar("State", bound=str)


class Evolving(Protocol):
    """What facts come to, and what it is after one more."""

    def evolve(self, fact: Fact) -> Self:
        """Return it after `fact`; raise `UnexpectedFactError` when the table has no such transition."""


Played = TypeVar("Played", bound=Evolving)


def play(nothing: Played, facts: Iterable[Fact]) -> Played:
    """Play facts in order, from nothing.

    Raises:
        MisplacedFactError: the facts contradict the table; the history was not written by this code.
    """
    played = nothing
    for fact in facts:
        try:
            played = played.evolve(fact)
        except UnexpectedFactError as error:
            raise MisplacedFactError(fact.kind, error.fact, error.state) from error
    return played


def news(known: Played, asked: Iterable[Fact]) -> list[Fact]:
    """Return those of the facts asked for that change what is known: asked again, a thing is done already.

    Why it is asked does not count: what facts come to holds no reason by which two would differ.

    Raises:
        UnexpectedFactError: one of them cannot follow.
    """
    told = []
    for fact in asked:
        after = known.evolve(fact)
        if after != known:
            told.append(fact)
        known = after
    return told


def following(table: Mapping[State | None, Mapping[type[Fact], State]], state: State | None, fact: Fact) -> State:
    """Return the state that a fact leads to.

    Raises:
        UnexpectedFactError: the table has no such transition.
    """
    after = table[state].get(type(fact))
    if after is None:
        raise UnexpectedFactError(type(fact).__name__, state)
    return after

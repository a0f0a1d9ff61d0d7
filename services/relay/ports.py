"""What `relay` needs from outside, in its own words."""

from collections.abc import Sequence
from typing import Protocol

from shared.journal.order import OrderedFact


class Publisher(Protocol):
    """Whoever carries ordered facts to the other services."""

    async def publish(self, facts: Sequence[OrderedFact]) -> None:
        """Return once all of them are safe there; raises `UnavailableError` when they may not be."""


class Order(Protocol):
    """The order of the one history, while this process is the only one to write it."""

    async def extend(self, limit: int) -> int:
        """Give at most `limit` committed facts their index; return how many were given one."""

    async def oldest_without_index_seconds(self) -> float:
        """Return the age, in seconds, of the oldest fact without an index; 0 when there is none."""


class Cursor(Protocol):
    """How far facts have been published."""

    async def next(self, limit: int) -> list[OrderedFact]:
        """Return at most `limit` facts that have not been published, in order."""

    async def advance(self, index: int) -> None:
        """Remember that everything up to this index is published."""

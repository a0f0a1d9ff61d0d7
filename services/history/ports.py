"""What `history` needs from outside, in its own words."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from services.history.views import Row
from shared.order import OrderedFact


class Rows(Protocol):
    """The list of every flux in its last known state: a read model, which can be emptied and made again."""

    async def cursor(self) -> int:
        """Return the index of the last fact that the list shows."""

    async def next(self, after: int, limit: int) -> list[OrderedFact]:
        """Return the facts that come after an index, in order."""

    async def save(self, rows: Sequence[Row], index: int) -> None:
        """Show these rows and remember the index, both or neither."""

    async def page(
        self,
        *,
        perimeter: Collection[str] | None,
        states: Collection[str],
        before: UUID | None,
        limit: int,
    ) -> list[Row]:
        """Return rows, the most recent flux first.

        Args:
            perimeter: the collectivités whose flux may be shown; None for all.
            states: the states to show; empty for all.
            before: show what is older than this flux.
            limit: how many at the most.
        """

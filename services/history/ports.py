"""What `history` needs from outside, in its own words."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from services.history.views import Row
from shared.journal.order import OrderedFact


class Seen(NamedTuple):
    """A flux that was looked at, and the index of its last fact seen until then."""

    flux_id: UUID
    last_index: int


@dataclass(frozen=True)
class Wanted:
    """Which flux to list.

    Attributes:
        perimeter: the collectivités whose flux may be shown; None for all.
        states: the states to show; empty for all.
        nomfic: the NomFic that its header says; empty for any.
        sha256: the digest of the file as imported; empty for any.
        imported_until: only what was imported by then.
    """

    perimeter: Collection[str] | None = None
    states: Collection[str] = ()
    nomfic: str = ""
    sha256: str = ""
    imported_until: datetime | None = None


class Documents(Protocol):
    """The documents that facts name."""

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a document piece by piece; see `shared.runtime.documents.DocumentStore`."""


class Rows(Protocol):
    """The list of every flux in its last known state: a read model, which can be emptied and made again."""

    async def cursor(self) -> int:
        """Return the index of the last fact that the list shows."""

    async def next(self, after: int, limit: int) -> list[OrderedFact]:
        """Return the facts that come after an index, in order."""

    async def save(
        self, rows: Sequence[Row], *, read: Sequence[Seen], skipped: Sequence[Seen], index: int = 0
    ) -> None:
        """Show these rows and remember the rest, all or nothing.

        Args:
            rows: what to show.
            read: the flux that could be read; those among them that were skipped before are so no more, unless
                they were skipped again at a later fact.
            skipped: the flux that could not be read.
            index: that of the last fact that the list shows; the list never goes back.
        """

    async def skipped(self, after: UUID | None, limit: int) -> list[Seen]:
        """Return the flux that were skipped and not read since, in the order of their ids, after one of them."""

    async def page(self, wanted: Wanted, *, before: UUID | None, limit: int) -> list[Row]:
        """Return rows, the most recent flux first.

        Args:
            wanted: which.
            before: show what is older than this flux.
            limit: how many at the most.
        """

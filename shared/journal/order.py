"""The one history, read in order: what the embedded bus, the read models and the relay follow."""

from dataclasses import dataclass
from uuid import UUID

from shared.journal.postgres import Database

ORDER_CHANNEL = "journal_order"  # notified each time the order grows
JOURNAL_CHANNEL = "journal"  # notified at each append


@dataclass(frozen=True)
class OrderedFact:
    """One fact at its place in the history; `body` is its canonical JSON."""

    index: int
    kind: str
    stream_id: UUID
    body: str


# Reads the history in order, from a place on.
_READ = """
select o.index, j.kind, j.stream_id, j.body
from journal_order o join journal j using (position)
where o.index > $1
order by o.index
limit $2
"""

# The last place in the history.
_END = "select coalesce(max(index), 0) as index from journal_order"


async def read_order(database: Database, after: int, limit: int) -> list[OrderedFact]:
    """Return at most `limit` facts that come after an index, in order."""
    rows = await database.fetch(_READ, after, limit)
    return [OrderedFact(row["index"], row["kind"], row["stream_id"], row["body"]) for row in rows]


async def end_of_order(database: Database) -> int:
    """Return the last index given, 0 when there is none."""
    rows = await database.fetch(_END)
    return int(rows[0]["index"])

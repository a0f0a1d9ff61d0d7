"""Makes projections again from the journal, by hand: for the owner of the database, as `shared.journal.schema`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

# What there is, in the order in which it was added.
_ALL = "select name, kinds, tables from projection order by name"


@dataclass(frozen=True)
class Projection:
    """Tables that follow from facts of these kinds."""

    name: str
    kinds: tuple[str, ...]
    tables: tuple[str, ...]


class Projections:
    """The projections of a database."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Use this connection, of a login that owns the schema."""
        self._connection = connection

    async def all(self) -> list[Projection]:
        """Return every projection, by name."""
        rows = await self._connection.fetch(_ALL)
        return [Projection(row["name"], tuple(row["kinds"]), tuple(row["tables"])) for row in rows]

    async def rebuild(self, name: str) -> int:
        """Make one again, in one transaction: who reads sees the old rows, then the new ones.

        Returns:
            How many facts it follows from.
        """
        return int(await self._connection.fetchval("select rebuild_projection($1)", name))


@asynccontextmanager
async def open_projections(dsn: str) -> AsyncIterator[Projections]:
    """Lend the projections of a database; a rebuild takes as long as it takes."""
    connection = await asyncpg.connect(dsn)
    try:
        yield Projections(connection)
    finally:
        await connection.close()

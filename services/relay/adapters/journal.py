"""The order of the history in PostgreSQL, and how far it has been published.

Why not the identity column: two transactions take positions 7 and 8, and 8 commits first. Whoever reads at that
moment sees 8, moves on, and never sees 7. So a fact is given its index only once every transaction that could still
add an earlier one has ended: those below the snapshot's xmin. Among these, (tx, position) is an order that cannot
change any more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.journal.order import ORDER_CHANNEL, OrderedFact, read_order
from shared.journal.postgres import Database, affected, in_our_words

_LOCK = 0x48454C32  # held by the one relay that orders; the others wait for it
_STANDBY_SECONDS = 1.0

_TRY_LOCK = "select pg_try_advisory_lock($1)"

_UNLOCK = "select pg_advisory_unlock($1)"

# Orders what can be ordered. Runs on the connection that holds the lock, so two relays can never interleave.
_EXTEND = """
with last as (
    select o.index, j.tx, j.position
    from journal_order o join journal j using (position)
    order by o.index desc limit 1
), settled as (
    select position, tx from journal
    where (tx, position) > (
            coalesce((select tx from last), '0'::xid8), coalesce((select position from last), 0)
        )
      and tx < pg_snapshot_xmin(pg_current_snapshot())
    order by tx, position
    limit $1
)
insert into journal_order (index, position)
select coalesce((select index from last), 0) + row_number() over (order by tx, position), position
from settled
"""

_ANNOUNCE = "select pg_notify($1, '')"

_OLDEST = """
with last as (
    select j.tx, j.position from journal_order o join journal j using (position) order by o.index desc limit 1
)
select extract(epoch from clock_timestamp() - min(recorded_at))::float8 as seconds
from journal
where (tx, position) > (coalesce((select tx from last), '0'::xid8), coalesce((select position from last), 0))
"""

_CURSOR = "select index from relay_cursor where bus = $1"

_ADVANCE = """
insert into relay_cursor (bus, index) values ($1, $2)
on conflict (bus) do update set index = greatest(relay_cursor.index, excluded.index)
"""


class PostgresOrder:
    """The order, written on the one connection that holds its lock."""

    def __init__(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
        """Use `sole_order` to get one."""
        self._connection = connection

    async def extend(self, limit: int) -> int:
        """See `Order.extend`."""
        with in_our_words():
            async with self._connection.transaction():
                given = affected(await self._connection.execute(_EXTEND, limit))
                if given:
                    await self._connection.execute(_ANNOUNCE, ORDER_CHANNEL)
            return given

    async def oldest_without_index_seconds(self) -> float:
        """See `Order.oldest_without_index_seconds`."""
        with in_our_words():
            return float(await self._connection.fetchval(_OLDEST) or 0.0)


@asynccontextmanager
async def sole_order(database: Database) -> AsyncIterator[PostgresOrder]:
    """Wait to be the only relay that orders, then lend the order; another takes over when this one ends."""
    async with database.connection() as connection:
        while not await connection.fetchval(_TRY_LOCK, _LOCK):  # noqa: ASYNC110  # another process holds it
            await asyncio.sleep(_STANDBY_SECONDS)
        try:
            yield PostgresOrder(connection)
        finally:
            if not connection.is_closed():
                await connection.execute(_UNLOCK, _LOCK)


class PostgresCursor:
    """How far one bus has come."""

    def __init__(self, database: Database, bus: str) -> None:
        """Keep the cursor of this bus."""
        self._database = database
        self._bus = bus

    async def next(self, limit: int) -> list[OrderedFact]:
        """See `Cursor.next`."""
        rows = await self._database.fetch(_CURSOR, self._bus)
        return await read_order(self._database, rows[0]["index"] if rows else 0, limit)

    async def advance(self, index: int) -> None:
        """See `Cursor.advance`."""
        await self._database.execute(_ADVANCE, self._bus, index)

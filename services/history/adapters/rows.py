"""The list of flux, in PostgreSQL."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from services.history.ports import Seen, Wanted
from services.history.views import Row
from shared.facts.lifecycles.flux import State
from shared.journal.order import OrderedFact, read_order
from shared.journal.postgres import Database

_GROUP = "history"

_CURSOR = "select index from consumer_cursor where consumer_group = $1 and shard = 0"

# Shows rows; an older one never replaces a newer one, nor does one that was read in part replace a whole one.
_SAVE = """
insert into flux_view (flux_id, collectivite, state, version, is_held, is_set_aside, step, filename, nomfic,
    cod_col, cod_bud, sha256, size, imported_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
on conflict (flux_id) do update set
    state = excluded.state, version = excluded.version, is_held = excluded.is_held,
    is_set_aside = excluded.is_set_aside, step = excluded.step, nomfic = excluded.nomfic,
    cod_col = excluded.cod_col, cod_bud = excluded.cod_bud, sha256 = excluded.sha256, size = excluded.size,
    updated_at = excluded.updated_at
where (flux_view.version, not flux_view.is_set_aside) <= (excluded.version, not excluded.is_set_aside)
"""

_ADVANCE = """
insert into consumer_cursor (consumer_group, shard, index) values ($1, 0, $2)
on conflict (consumer_group, shard) do update set index = greatest(consumer_cursor.index, excluded.index)
"""

_SKIP = """
insert into flux_skipped (flux_id, index) values ($1, $2)
on conflict (flux_id) do update set index = greatest(flux_skipped.index, excluded.index)
"""

_READ = "delete from flux_skipped where flux_id = $1 and index <= $2"

_SKIPPED = """
select flux_id, index from flux_skipped
where $1::uuid is null or flux_id > $1
order by flux_id
limit $2
"""

_PAGE = """
select flux_id, collectivite, state, version, is_held, is_set_aside, step, filename, nomfic, cod_col, cod_bud,
    sha256, size, imported_at, updated_at
from flux_view
"""


class PostgresRows:
    """See `services.history.ports.Rows`."""

    def __init__(self, database: Database) -> None:
        """Keep the rows in this database."""
        self._database = database

    async def cursor(self) -> int:
        """See `Rows.cursor`."""
        rows = await self._database.fetch(_CURSOR, _GROUP)
        return rows[0]["index"] if rows else 0

    async def next(self, after: int, limit: int) -> list[OrderedFact]:
        """See `Rows.next`."""
        return await read_order(self._database, after, limit)

    async def save(
        self, rows: Sequence[Row], *, read: Sequence[Seen], skipped: Sequence[Seen], index: int = 0
    ) -> None:
        """See `Rows.save`."""
        in_order = sorted(rows, key=lambda row: row.flux_id)  # all processes take the same lines in the same order
        async with self._database.connection() as connection, connection.transaction():
            await connection.executemany(_SAVE, [tuple(row.model_dump().values()) for row in in_order])
            await connection.executemany(_READ, sorted(read))
            await connection.executemany(_SKIP, sorted(skipped))
            await connection.execute(_ADVANCE, _GROUP, index)

    async def skipped(self, after: UUID | None, limit: int) -> list[Seen]:
        """See `Rows.skipped`."""
        return [Seen(row["flux_id"], row["index"]) for row in await self._database.fetch(_SKIPPED, after, limit)]

    async def page(self, wanted: Wanted, *, before: UUID | None, limit: int) -> list[Row]:
        """See `Rows.page`."""
        statement, values = _page(wanted, before, limit)
        found: list[asyncpg.Record] = await self._database.fetch(statement, *values)
        return [_row(row) for row in found]


def _row(record: asyncpg.Record) -> Row:
    """Return a line; what a newer version showed in a way that is not known here is told to be set aside."""
    try:
        return Row(**record)
    except ValidationError:
        as_far_as_known = {name: value for name, value in dict(record).items() if name not in ("state", "step")}
        return Row(**as_far_as_known | {"state": State.IMPORTED, "is_set_aside": True})


def _page(wanted: Wanted, before: UUID | None, limit: int) -> tuple[str, list[object]]:
    """Return the statement for a page: only what is asked for stands in it, so that PostgreSQL takes its index."""
    conditions: dict[str, object] = {
        "collectivite = any({})": None if wanted.perimeter is None else list(wanted.perimeter),
        "state = any({})": list(wanted.states) or None,
        "nomfic = {}": wanted.nomfic or None,
        "sha256 = {}": wanted.sha256 or None,
        "imported_at <= {}": wanted.imported_until,
        "flux_id < {}": before,
    }
    asked = {text: value for text, value in conditions.items() if value is not None}
    said = " and ".join(text.format(f"${number}") for number, text in enumerate(asked, start=1))
    where = f"where {said} " if said else ""
    return f"{_PAGE}{where}order by flux_id desc limit ${len(asked) + 1}", [*asked.values(), limit]

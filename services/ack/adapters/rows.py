"""The list of replies that belonged to no flux when they came, in PostgreSQL: a projection, see `sql`."""

from uuid import UUID

from services.ack.ports import ReplyRow
from shared.facts.lifecycles.reply import State
from shared.journal.postgres import Database

_COLUMNS = """
select reply_id, received_at, remote_name, nomfic, verdict, sha256, reason, state, flux_id, decided_by, decided_at,
    decision
from reply_view
"""

_PAGE = f"""{_COLUMNS}
where state = $1 and ($2::uuid is null or reply_id < $2)
order by reply_id desc
limit $3
"""  # nothing of a request is in it

_ONE = f"{_COLUMNS} where reply_id = $1"


class PostgresReplyRows:
    """See `services.ack.ports.ReplyRows`."""

    def __init__(self, database: Database) -> None:
        """Read the rows in this database."""
        self._database = database

    async def page(self, state: State, *, before: UUID | None, limit: int) -> list[ReplyRow]:
        """See `ReplyRows.page`."""
        return [ReplyRow(**row) for row in await self._database.fetch(_PAGE, state, before, limit)]

    async def one(self, reply_id: UUID) -> ReplyRow | None:
        """See `ReplyRows.one`."""
        rows = await self._database.fetch(_ONE, reply_id)
        return ReplyRow(**rows[0]) if rows else None

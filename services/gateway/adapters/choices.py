"""What the collectivités chose, in PostgreSQL: a table that follows from the facts of their streams."""

from shared.journal.postgres import Database

_CHANNEL = "select channel from collectivite where siren = $1"


class PostgresChoices:
    """See `services.gateway.ports.Choices`."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def channel_of(self, siren: str) -> str:
        """See `Choices.channel_of`."""
        rows = await self._database.fetch(_CHANNEL, siren)
        return str(rows[0]["channel"]) if rows else ""

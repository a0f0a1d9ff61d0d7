"""Creates and upgrades the database: each SQL step once, in the order of its number, in one transaction each.

The steps of the journal are in `shared/journal/sql`, those of the tables that only one service uses in its `sql`.
No step grants anything: what each login may do is made what `shared.journal.grants` declares at the end of each run.
"""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from shared.journal.logins import apply_grants

_LOCK = 0x48454C31  # one migration at a time, whoever starts it

_LEDGER = """
create table if not exists schema_step (
    name text primary key, applied_at timestamptz not null default now()
)
"""


async def migrate(dsn: str) -> list[str]:
    """Apply the steps that this database has not seen, then what each login may do.

    Args:
        dsn: a login that owns the schema.

    Returns:
        The names of the steps applied, none when the database was up to date.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        known = {row["name"] for row in await connection.fetch("select name from schema_step")}
        applied = []
        for step in sorted(steps(), key=lambda file: file.name):
            if step.name in known:
                continue
            async with connection.transaction():
                await connection.execute(step.read_text("utf-8"))
                await connection.execute("insert into schema_step (name) values ($1)", step.name)
            applied.append(step.name)
        await apply_grants(connection)
        return applied
    finally:
        await connection.close()


def steps() -> Iterator[Traversable]:
    """Yield every SQL step there is, in no order."""
    for folder in (files("shared.journal") / "sql", *(service / "sql" for service in files("services").iterdir())):
        if folder.is_dir():
            yield from (file for file in folder.iterdir() if file.name.endswith(".sql"))

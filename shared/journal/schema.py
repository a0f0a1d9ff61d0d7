"""Creates and upgrades the database: each file of `shared/journal/sql` once, in order, in one transaction each."""

from importlib.resources import files

import asyncpg

_LOCK = 0x48454C31  # one migration at a time, whoever starts it

_LEDGER = """
create table if not exists schema_step (
    name text primary key, applied_at timestamptz not null default now()
)
"""


async def migrate(dsn: str) -> list[str]:
    """Apply the steps that this database has not seen.

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
        for step in sorted(files("shared.journal.sql").iterdir(), key=lambda file: file.name):
            if not step.name.endswith(".sql") or step.name in known:
                continue
            async with connection.transaction():
                await connection.execute(step.read_text("utf-8"))
                await connection.execute("insert into schema_step (name) values ($1)", step.name)
            applied.append(step.name)
        return applied
    finally:
        await connection.close()

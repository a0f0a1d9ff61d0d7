"""Creates and upgrades the database: each SQL step once, in the order of its number, then what becomes facts.

All that is missing is done in one transaction: a database is of one version or of the other, never in between. The
steps of the journal are in `shared/journal/sql`, those of the tables that only one service uses in its `sql`.

At the end of each run, what each login may do is made what `shared.journal.grants` declares.
"""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from shared.journal import restored, upgrade
from shared.journal.logins import apply_grants

_LOCK = 0x48454C31  # one migration at a time, whoever starts it

REBASED = "restored journal"  # what is told when a dump was restored; no step: it may be restored again

_LEDGER = """
create table if not exists schema_step (
    name text primary key, applied_at timestamptz not null default now()
)
"""
_APPLIED = "insert into schema_step (name) values ($1)"


async def migrate(dsn: str) -> list[str]:
    """Apply the steps that this database has not seen, then what each login may do.

    Args:
        dsn: a login that owns the schema.

    Returns:
        The names of the steps applied, none when the database was up to date; `REBASED` after a dump was restored.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        known = {row["name"] for row in await connection.fetch("select name from schema_step")}
        missing = [step for step in sorted(steps(), key=lambda file: file.name) if step.name not in known]
        async with connection.transaction():
            for step in missing:
                await connection.execute(step.read_text("utf-8"))
            applied = [step.name for step in missing]
            if upgrade.STEP not in known:
                await upgrade.decisions_into_facts(connection)
                applied.append(upgrade.STEP)
            await connection.executemany(_APPLIED, [(name,) for name in applied])
            if await restored.rebase(connection):
                applied.append(REBASED)
        await apply_grants(connection)
        return applied
    finally:
        await connection.close()


def steps() -> Iterator[Traversable]:
    """Yield every SQL step there is, in no order."""
    for folder in (files("shared.journal") / "sql", *(service / "sql" for service in files("services").iterdir())):
        if folder.is_dir():
            yield from (file for file in folder.iterdir() if file.name.endswith(".sql"))

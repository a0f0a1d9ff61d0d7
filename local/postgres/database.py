"""The platform's database in the server: its name, who connects to it, its schema."""

import asyncpg

from local.postgres.server import LocalPostgres
from shared.journal.grants import login_of
from shared.journal.schema import migrate

DATABASE = "heliotrope"


def dsn_of(service: str, postgres: LocalPostgres, database: str = DATABASE) -> str:
    """Say how a service connects, as itself."""
    return postgres.dsn(database, login_of(service))


async def prepare_database(postgres: LocalPostgres) -> None:
    """Create the database if it is not there, and bring its schema up to date."""
    connection = await asyncpg.connect(postgres.dsn())
    try:
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", DATABASE):
            await connection.execute(f'create database "{DATABASE}"')
    finally:
        await connection.close()
    await migrate(postgres.dsn(DATABASE))

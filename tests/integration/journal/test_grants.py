"""Each login does what is declared for it and nothing else: all that is forbidden is tried, and all that is allowed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from typing import TypeAlias

import asyncpg
import pytest

from shared.facts.recorders import SERVICES_THAT_CONSUME
from shared.facts.reservations import RELEASED_BY, TAKEN_BY
from shared.facts.streams import BY_KIND
from shared.journal.grants import (
    OF_THE_OWNER_ALONE,
    SERVICES_WITH_A_LOGIN,
    kinds_of,
    login_of,
    released_by,
    tables_of,
    taken_by,
)
from shared.journal.history import _APPEND, _LOAD
from shared.journal.order import _READ
from shared.journal.schema import migrate
from tests.conftest import TestDatabase

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DENIED = asyncpg.InsufficientPrivilegeError
VERBS = ("select", "insert", "update", "delete", "truncate")
NAMES = sorted({name for table in (TAKEN_BY, RELEASED_BY) for names in table.values() for name in names})
RECORD = """
insert into journal (stream_id, version, event_id, collectivite, kind, body)
values (gen_random_uuid(), 1, gen_random_uuid(), 'x', $1, $2)
"""
RESERVE = "insert into reservation values ('somewhere', $1, 'something', gen_random_uuid())"
ALL_TABLES = "select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"
COLUMNS = """
select attname::text as name, attidentity::text as identity from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum
"""


@pytest.fixture
async def owner(test_database: TestDatabase) -> AsyncIterator[Connection]:
    """Lend the owner's connection; what a whole database was forbidden is not copied with the template: do it again."""
    assert await migrate(test_database.dsn()) == []
    connection = await asyncpg.connect(test_database.dsn())
    yield connection
    await connection.close()


@asynccontextmanager
async def as_service(test_database: TestDatabase, service: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(test_database.dsn(login_of(service)))
    try:
        yield connection
    finally:
        await connection.close()


async def may(connection: Connection, statement: str, *values: object) -> bool:
    """Try a statement and undo it; say whether it was allowed. (Allowed, it may still break another rule.)"""
    attempt = connection.transaction()
    await attempt.start()
    try:
        await connection.execute(statement, *values)
    except DENIED as error:
        return "is refused" in str(error)  # by the trigger that stops the owner too: the grant let it pass
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.FeatureNotSupportedError):
        pass
    finally:
        await attempt.rollback()
    return True


# --- Tables ------------------------------------------------------------------------------------------------------


async def test_every_table_is_declared_and_every_declared_table_is_there(owner: Connection) -> None:
    there = {row["name"] for row in await owner.fetch(ALL_TABLES)}
    declared = {table for service in SERVICES_WITH_A_LOGIN for table in tables_of(service)}
    assert declared.isdisjoint(OF_THE_OWNER_ALONE)
    assert declared | set(OF_THE_OWNER_ALONE) == there


def column_of(right: str) -> set[str]:
    """Return the columns that a privilege is limited to; none when it is on the whole table."""
    return {name.strip() for name in right.partition("(")[2].rstrip(")").split(",") if name.strip()}


@pytest.mark.parametrize("service", SERVICES_WITH_A_LOGIN)
async def test_a_login_does_to_each_table_what_is_declared(
    owner: Connection, test_database: TestDatabase, service: str
) -> None:
    tables = [row["name"] for row in await owner.fetch(ALL_TABLES)]
    async with as_service(test_database, service) as connection:
        for table in tables:
            columns = await owner.fetch(COLUMNS, table)
            declared = {right.split()[0]: column_of(right) for right in tables_of(service).get(table, ())}
            for verb, column in product(VERBS, columns):
                limited = declared.get(verb)
                expected = limited is not None and (not limited or column["name"] in limited)
                assert await may(connection, attempt(verb, table, column)) is expected, (verb, table, column["name"])


def attempt(verb: str, table: str, column: asyncpg.Record) -> str:
    """Return a statement that needs one privilege, on one column where privileges are on columns, and finds no row."""
    name = column["name"]
    match verb:
        case "select":
            return f'select "{name}" from {table} limit 0'
        case "insert":
            overriding = "overriding system value" if column["identity"] == "a" else ""
            return f'insert into {table} ("{name}") {overriding} select null where false'
        case "update":
            return f'update {table} set "{name}" = default where false'
        case "delete":
            return f"delete from {table} where false"
        case _:
            return f"truncate {table} cascade"

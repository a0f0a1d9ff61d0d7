"""The journal cannot be changed, by any role and not by its owner; the order has no hole and no doubt."""

import json
from datetime import UTC, datetime

import asyncpg
import pytest
import rfc8785

from local.postgres.server import LocalPostgres
from shared.facts.envelope import Event
from shared.journal.grants import SERVICES_WITH_A_LOGIN, login_of
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import migrate, steps
from shared.journal.upgrade import STEP
from tests import examples as an
from tests.conftest import TestDatabase
from tests.recording import begun

INSERT = (
    "insert into journal (stream_id, version, event_id, collectivite, kind, body) "
    "values (gen_random_uuid(), 1, gen_random_uuid(), 'x', 'y', '{}')"
)
CHANGES = [
    ("journal", "update journal set body = ''"),
    ("journal", "delete from journal"),
    ("journal", "truncate journal cascade"),
    ("journal", "truncate journal, journal_order"),
    ("journal", f"{INSERT} on conflict (event_id) do update set body = excluded.body"),
    ("journal_order", "update journal_order set index = 2"),
    ("journal_order", "delete from journal_order"),
    ("journal_order", "truncate journal_order"),
]
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
async def recorded(database: Database) -> Event:
    event = begun(an.imported, collectivite=an.collectivite)
    (recorded,) = await PostgresHistory(database).append([event], expected_version=0)
    await database.execute("insert into journal_order select 1, position from journal")
    return recorded


@pytest.mark.parametrize(("table", "change"), CHANGES)
async def test_its_owner_is_stopped_by_a_trigger(
    database: Database, recorded: Event, table: str, change: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"append-only: .* on {table} is refused"):
        await database.execute(change)
    assert await PostgresHistory(database).load(recorded.flux_id) == [recorded]
    (order,) = await database.fetch("select index, position from journal_order")
    assert tuple(order) == (1, 1)


@pytest.mark.parametrize(("table", "change"), CHANGES)
@pytest.mark.parametrize("role", [login_of(service) for service in SERVICES_WITH_A_LOGIN])
async def test_a_service_has_no_right_to_change_what_is_recorded(
    test_database: TestDatabase, recorded: Event, role: str, table: str, change: str
) -> None:
    assert recorded.version == 1
    connection = await asyncpg.connect(test_database.dsn(role))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"permission denied for table {table}"):
            await connection.execute(change)
    finally:
        await connection.close()


async def test_an_event_is_kept_as_its_canonical_bytes(database: Database, recorded: Event) -> None:
    (row,) = await database.fetch("select body from journal")
    assert row["body"].encode() == recorded.to_bytes()
    assert rfc8785.dumps(json.loads(row["body"])) == row["body"].encode()


async def test_versions_begin_at_one(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(INSERT.replace("1,", "0,"))


async def test_the_schema_is_brought_up_to_date_once(test_database: TestDatabase) -> None:
    assert await migrate(test_database.dsn()) == []


async def test_an_empty_database_gets_every_step(postgres: LocalPostgres) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        await connection.execute("create database empty template template0")
    finally:
        await connection.close()
    assert await migrate(postgres.dsn("empty")) == [*sorted(step.name for step in steps()), STEP]

"""The journal cannot be changed, by any role and not by its owner; the order has no hole and no doubt."""

import json
import logging
from datetime import UTC, datetime

import asyncpg
import pytest
import rfc8785

from local.postgres.server import LocalPostgres
from shared import tracing
from shared.errors import VersionConflictError
from shared.facts.envelope import Event, new_id
from shared.journal.grants import SERVICES_WITH_A_LOGIN, login_of
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import migrate, steps
from shared.journal.upgrade import STEP
from tests import examples as an
from tests.conftest import TestDatabase
from tests.recording import begun
from tests.tracing import kept_spans

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


async def test_each_fact_recorded_is_told_with_its_ids_and_how_long_it_took(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    history = PostgresHistory(database)
    with kept_spans() as spans:
        (first,) = await history.append([begun(an.imported, collectivite=an.collectivite)], expected_version=0)
    (record,) = caplog.records
    told = {name: vars(record)[name] for name in ("message", "flux_id", "correlation_id", "collectivite", "actor")}
    assert told == {
        "message": "fact.recorded",
        "flux_id": str(first.flux_id),
        "correlation_id": str(first.correlation_id),
        "collectivite": an.collectivite,
        "actor": first.actor,
    }
    assert (vars(record)["kind"], vars(record)["version"]) == (first.kind, 1)
    assert vars(record)["duration_seconds"] >= 0
    assert [span.name for span in spans.all()] == ["record flux.imported.v1"]


async def test_what_was_not_recorded_is_not_told(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with kept_spans() as spans, pytest.raises(VersionConflictError):
        await PostgresHistory(database).append([begun(an.validated)], expected_version=3)
    assert caplog.records == []
    assert spans.all() == ()


async def test_a_statement_is_traced_by_its_name_without_its_values(database: Database) -> None:
    with kept_spans() as spans, tracing.request(new_id(), ""):
        await database.fetch("select $1::text as value from journal", "Durand")
    span = spans.named("select journal")
    assert span.parent == spans.named("request").context
    assert "Durand" not in span.to_json()

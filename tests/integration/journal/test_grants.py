"""Each login does what is declared for it and nothing else: all that is forbidden is tried, and what is allowed."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import product
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from shared.facts.envelope import new_id
from shared.facts.fact import Fact
from shared.facts.recorders import SERVICES_THAT_CONSUME
from shared.facts.reservations import RELEASED_BY, TAKEN_BY
from shared.facts.streams import BY_KIND, FACTS_OF, Stream
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
from shared.journal.postgres import affected
from shared.journal.schema import migrate
from tests import examples as an
from tests.callers import OTHER_COMMUNE
from tests.conftest import TestDatabase
from tests.recording import begun

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DENIED = asyncpg.InsufficientPrivilegeError
NAMES = sorted({name for names in (*TAKEN_BY.values(), *RELEASED_BY.values()) for name in names})
FACTS = {fact.kind: fact for fact in vars(an).values() if isinstance(fact, Fact)}
GROUPS = (*SERVICES_THAT_CONSUME, "history")
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
# What needs one privilege on one column, and finds no row.
ON_COLUMNS = {
    "select": "select {column} from {table} limit 0",
    "insert": "insert into {table} ({column}) {how} select null where false",
    "update": "update {table} set {column} = default where false",
}
RECORD = """
insert into journal (stream_id, version, event_id, collectivite, kind, body)
values ($1, $2, $3, $4, $5, $6)
"""
RESERVE = "insert into reservation values ('somewhere', $1, 'something', gen_random_uuid())"
KEPT_BY_GROUP = [
    ("consumer_cursor", "insert into consumer_cursor values ($1, $2, 0)", "update consumer_cursor set index = 5"),
    (
        "parked",
        "insert into parked values (gen_random_uuid(), $1, $2, '', null, '', '')",
        "update parked set released_at = now()",
    ),
]
SCHEMA_CHANGES = (
    "create table mine (x int)",
    "create temporary table mandate (x int)",
    "create function mine() returns int language sql return 1",
    "create schema mine",
    "drop table journal",
    "alter table journal disable trigger all",
    "alter table journal disable row level security",
    "drop policy gateway_records on journal",
    "set session_replication_role = replica",
    "set role {other}",
    "set role postgres",
    "set session authorization {other}",
    "grant {other} to current_user",
    "alter role {other} superuser",
    "create role mine",
    "select rebuild_projection('any')",
    "call add_projection('any', '{{}}', '{{}}', 'any')",
    "copy journal to program 'true'",
)
ALL_TABLES = """
select relname::text as name from pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') order by relname
"""
COLUMNS = """
select attname::text as name, case attidentity when 'a' then 'overriding system value' else '' end as how
from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum
"""


@pytest.fixture
async def owner(test_database: TestDatabase) -> AsyncIterator[Connection]:
    """Lend the owner's connection; what is forbidden in a whole database does not come with its template."""
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
    async with as_service(test_database, service) as connection:
        for table in [row["name"] for row in await owner.fetch(ALL_TABLES)]:
            declared = {right.split()[0]: right for right in tables_of(service).get(table, ())}
            for verb in ("delete from {} where false", "truncate {} cascade"):
                assert await may(connection, verb.format(table)) is (verb.split()[0] in declared), (verb, table)
            for column, verb in product(await owner.fetch(COLUMNS, table), ON_COLUMNS):
                right = declared.get(verb, "")
                expected = bool(right) and ("(" not in right or column["name"] in re.findall(r"\w+", right)[1:])
                statement = ON_COLUMNS[verb].format(table=table, column=column["name"], how=column["how"])
                assert await may(connection, statement) is expected, statement


async def test_privileges_given_by_hand_do_not_outlive_a_migration(
    owner: Connection, test_database: TestDatabase
) -> None:
    await owner.execute("grant all on journal to heliotrope_gateway; grant usage on schema public to public")
    await owner.execute("create policy too_much on journal for insert to heliotrope_gateway with check (true)")
    before = await owner.fetch("select * from pg_policies order by 2, 3")
    await migrate(test_database.dsn())
    after = await owner.fetch("select * from pg_policies order by 2, 3")
    assert [row for row in before if row not in after] == [row for row in before if row["policyname"] == "too_much"]
    async with as_service(test_database, "gateway") as gateway:
        assert not await may(gateway, "update journal set tx = default where false")
        assert not await may(gateway, RECORD, *recorded(an.mandate_granted))


async def test_a_migration_that_changes_nothing_leaves_the_policies_alone(
    owner: Connection, test_database: TestDatabase
) -> None:
    before = await owner.fetch("select oid, polname from pg_policy order by oid")
    await migrate(test_database.dsn())
    assert await owner.fetch("select oid, polname from pg_policy order by oid") == before != []


# --- Facts -------------------------------------------------------------------------------------------------------


def recorded(fact: Fact, **envelope: object) -> tuple[object, ...]:
    """Return the row of an event of this fact; its body says otherwise what is given."""
    kind = next(kind for kind, facts in FACTS_OF.items() if type(fact) in facts)
    event = begun(fact, stream=Stream(kind, new_id()), collectivite=an.collectivite, actor="x")
    body = json.dumps({**json.loads(event.model_copy(update={"version": 1}).to_bytes()), **envelope})
    return event.stream_id, 1, event.event_id, event.collectivite, event.kind, body


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("service", SERVICES_WITH_A_LOGIN)
async def test_a_login_records_the_facts_of_its_service_only(test_database: TestDatabase, service: str) -> None:
    async with as_service(test_database, service) as connection:
        for fact in FACTS.values():
            assert await may(connection, RECORD, *recorded(fact)) is (fact.kind in kinds_of(service)), fact.kind


async def test_gateway_grants_no_mandate(owner: Connection, test_database: TestDatabase) -> None:
    async with as_service(test_database, "gateway") as gateway:
        with pytest.raises(DENIED, match='row-level security policy for table "journal"'):
            await gateway.execute(RECORD, *recorded(an.mandate_granted))
        with pytest.raises(DENIED, match="permission denied for table mandate"):
            await gateway.execute("insert into mandate default values")
    assert await owner.fetchval("select count(*) from journal") == 0


ELSEWHERE = str(UUID(int=5))


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize(
    "otherwise",
    [
        {"kind": an.mandate_granted.kind},
        {"collectivite": OTHER_COMMUNE},
        {"version": 2},
        {"version": "1.0"},
        {"event_id": ELSEWHERE},
        {"flux_id": ELSEWHERE},
        {"flux_id": None, "stream": "flux", "stream_id": ELSEWHERE},
        {"stream": "collectivite", "stream_id": ELSEWHERE},  # beside the flux that its row is of
        {"stream": "flux", "flux_id": ELSEWHERE, "stream_id": None},
        *({name: None} for name in ("kind", "collectivite", "version", "event_id", "flux_id")),
    ],
    ids=str,
)
async def test_a_body_that_says_otherwise_than_its_row_is_not_recorded(
    test_database: TestDatabase, otherwise: dict[str, object]
) -> None:
    *row, body = recorded(an.transmitted)
    forged = [json.dumps({**json.loads(str(body)), **otherwise})]
    forged.append(f"{str(body)[:-1]}, {forged[0][1:]}")  # each name twice: the last is what is read
    escaped = json.dumps({f"\\u{ord(name[0]):04x}{name[1:]}": value for name, value in otherwise.items()})
    forged.append(f"{str(body)[:-1]}, {escaped.replace(2 * chr(92), chr(92))[1:]}")
    async with as_service(test_database, "gateway") as gateway:
        assert await may(gateway, RECORD, *row, body)
        for one in forged:
            assert not await may(gateway, RECORD, *row, one), one


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("name", ["kind", "collectivite", "version", "event_id", "flux_id"])
async def test_a_body_that_does_not_say_what_its_row_says_is_not_recorded(
    test_database: TestDatabase, name: str
) -> None:
    *row, body = recorded(an.transmitted)
    left_out = {key: value for key, value in json.loads(str(body)).items() if key != name}
    async with as_service(test_database, "gateway") as gateway:
        for one in (json.dumps(left_out), "{}"):
            assert not await may(gateway, RECORD, *row, one)


@pytest.mark.usefixtures("owner")
async def test_a_body_may_hold_any_character(test_database: TestDatabase) -> None:
    async with as_service(test_database, "gateway") as gateway:
        assert await may(gateway, RECORD, *recorded(an.transmitted, actor="\0é\\u0000"))


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize(("column", "value"), [("position", "1"), ("tx", "'1'"), ("recorded_at", "now()")])
async def test_no_login_chooses_the_place_of_a_fact(test_database: TestDatabase, column: str, value: str) -> None:
    statement = RECORD.replace("body)", f"body, {column}) overriding system value").replace("$6)", f"$6, {value})")
    for service in SERVICES_WITH_A_LOGIN:
        async with as_service(test_database, service) as connection:
            for kind in kinds_of(service)[:1]:
                assert not await may(connection, statement, *recorded(FACTS[kind])), service


def test_an_example_of_every_fact_is_tried() -> None:
    assert FACTS.keys() == BY_KIND.keys()


# --- Names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES_WITH_A_LOGIN)
async def test_a_login_takes_and_releases_the_names_of_its_facts_only(
    owner: Connection, test_database: TestDatabase, service: str
) -> None:
    for name in NAMES:
        await owner.execute(RESERVE, name)
    async with as_service(test_database, service) as connection:
        for name in NAMES:
            assert await may(connection, RESERVE.replace("somewhere", "else"), name) is (name in taken_by(service))
            released = await changed(connection, "delete from reservation where kind = $1", name)
            assert released == (name in released_by(service)), name
        assert await changed(connection, "delete from reservation") == len(released_by(service))


async def changed(connection: Connection, statement: str, *values: object) -> int:
    """Return how many rows a statement would change, for whoever may not: none."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        return affected(await connection.execute(statement, *values))
    except DENIED:
        return 0
    finally:
        await attempt.rollback()


# --- Consumer groups ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "insert", "update"), KEPT_BY_GROUP)
@pytest.mark.parametrize("service", SERVICES_WITH_A_LOGIN)
async def test_a_login_sees_and_touches_its_own_group_only(
    owner: Connection, test_database: TestDatabase, service: str, table: str, insert: str, update: str
) -> None:
    rights = tables_of(service).get(table, ())
    for group in GROUPS:
        await owner.execute(insert, group, 1)
    async with as_service(test_database, service) as connection:
        if rights:
            assert [row[0] for row in await connection.fetch(f"select consumer_group from {table}")] == [service]  # noqa: S608
        assert await changed(connection, update) == ("update" in rights)
        assert await changed(connection, f"delete from {table}") == ("delete" in rights)  # noqa: S608
        for group in GROUPS:
            own = group == service and bool(rights)
            assert await may(connection, insert, group, 2) is own
            assert not await may(connection, f"update {table} set consumer_group = 'else'")  # noqa: S608


def test_every_group_is_a_service_that_keeps_its_place() -> None:
    assert {service for service in SERVICES_WITH_A_LOGIN if "consumer_cursor" in tables_of(service)} == set(GROUPS)
    assert {service for service in SERVICES_WITH_A_LOGIN if "parked" in tables_of(service)} == {
        *SERVICES_THAT_CONSUME
    }


# --- The schema --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("statement", SCHEMA_CHANGES)
async def test_no_login_changes_the_schema_or_becomes_another(test_database: TestDatabase, statement: str) -> None:
    for service in SERVICES_WITH_A_LOGIN:
        async with as_service(test_database, service) as connection:
            assert not await may(connection, statement.format(other=login_of(another(service)))), service


def another(service: str) -> str:
    return next(one for one in SERVICES_WITH_A_LOGIN if one != service)


async def test_a_login_is_nobody_special(owner: Connection) -> None:
    logins = [login_of(service) for service in SERVICES_WITH_A_LOGIN]
    rows = await owner.fetch(
        """
        select rolname::text, rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls as special,
            rolconfig, exists (select from pg_auth_members where member = pg_roles.oid) as is_member
        from pg_roles where rolname like 'heliotrope%' order by rolname
        """
    )
    timeout = ["idle_in_transaction_session_timeout=10s"]
    assert [tuple(row) for row in rows] == [(login, False, timeout, False) for login in sorted(logins)]


async def test_a_table_of_whoever_appends_never_stands_in_for_one_of_ours(
    owner: Connection, test_database: TestDatabase
) -> None:
    await owner.execute(
        """
        create table seen (kind text);
        create function project_seen(fact journal) returns void language sql as 'insert into seen values (fact.kind)';
        call add_projection('seen', array['flux.transmitted.v1'], array['seen'], 'project_seen');
        """
    )
    await owner.execute(f"grant temporary on database {test_database.name} to heliotrope_gateway")
    async with as_service(test_database, "gateway") as gateway:
        await gateway.execute("create temporary table seen (kind text)")
        await gateway.execute(RECORD, *recorded(an.transmitted))
    assert await owner.fetchval("select kind from seen") == an.transmitted.kind


# --- Plans -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["validation", "gateway"])
@pytest.mark.parametrize(("query", "index"), [(_LOAD, "journal_stream_id"), (_READ, "journal_order_pkey")])
async def test_row_policies_cost_those_who_read_nothing(
    owner: Connection, test_database: TestDatabase, service: str, query: str, index: str
) -> None:
    await fill(owner)
    async with as_service(test_database, service) as connection:
        planned = await plan(connection, query)
    assert planned == await plan(owner, query)
    assert index in planned


async def test_row_policies_cost_an_append_one_comparison_with_a_constant_and_one_reading_of_the_body(
    owner: Connection, test_database: TestDatabase
) -> None:
    await fill(owner)
    async with as_service(test_database, "ingest") as connection:
        planned, without = await plan(connection, _APPEND), await plan(owner, _APPEND)
    policy = "kind = ANY ('{bordereau,document,nomfic}'::text[])"
    assert policy in planned
    assert [step for step in steps_of(planned) if step not in READING] == steps_of(without)
    assert [step for step in steps_of(planned) if step in READING] == READING
    assert "Seq Scan" not in planned


READING = ["SubPlan", "Function Scan on json_to_record"]


def steps_of(planned: str) -> list[str]:
    return re.findall(r"\w+ Scan using \w+|SubPlan|InitPlan|(?:Seq|Function) Scan on \w+", planned)


async def fill(owner: Connection) -> None:
    await owner.execute(
        """
        insert into journal (stream_id, version, event_id, collectivite, kind, body)
        select gen_random_uuid(), 1, gen_random_uuid(), 'x', 'y', '{}' from generate_series(1, 2000);
        insert into reservation select 'x', 'document', n, gen_random_uuid() from generate_series(1, 2000) n;
        insert into journal_order select row_number() over (), position from journal;
        analyze;
        """
    )


async def plan(connection: Connection, query: str) -> str:
    """Return how a query is run, whatever its values."""
    await connection.execute(f"set plan_cache_mode = force_generic_plan; prepare asked as {query}")
    values = ", ".join(["null"] * len(set(re.findall(r"\$\d+", query))))
    return "\n".join(row[0] for row in await connection.fetch(f"explain (costs off) execute asked ({values})"))

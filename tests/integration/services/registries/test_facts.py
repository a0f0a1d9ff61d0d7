"""What is decided of registries stays as it was recorded, once, and its tables can be made again."""

import asyncio

import asyncpg
import httpx
import pytest

from local.postgres.server import LocalPostgres
from services.history.adapters.rows import PostgresRows
from services.history.api import stream_routes
from services.history.lookups import Lookups
from services.signature.adapters.registries import PostgresRegistries
from shared.facts import collectivite as facts
from shared.facts.envelope import new_id
from shared.facts.streams import collectivite_stream, platform_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import steps
from shared.web.app import caller_dependency, service_app
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, checker
from tests.conftest import TestDatabase
from tests.fakes.memory_documents import MemoryDocuments
from tests.granting import say
from tests.integration.services.registries.bench import (
    ADMINISTRATOR,
    DELEGATION,
    ELSEWHERE,
    MANDATE,
    NOW,
    OPERATOR,
    SIGNATURE,
    Bench,
    certificate,
    choose_seal,
    pem,
    refusal,
    set_circuit,
)

CHANGES = [
    ("mandate", "insert into mandate default values"),
    ("mandate", "update mandate set person = 'karim'"),
    ("mandate_end", "delete from mandate_end"),
    ("circuit", "update circuit set steps = '[]'"),
    ("circuit", "insert into circuit default values"),
    ("delegation", "truncate delegation cascade"),
    ("delegation_end", "insert into delegation_end default values"),
    ("seal_choice", "update seal_choice set has_seal = true"),
    ("seal_choice", "insert into seal_choice default values"),
]


# --- What is recorded stays --------------------------------------------------------------------------------------


async def fill(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    await set_circuit(bench, SIGNATURE)
    await bench.http.post(f"/v1/mandates/{mandate_id}/end", json={"reason": "démission"})
    await bench.http.post(f"/v1/delegations/{delegation_id}/end", json={"reason": "retour"})


@pytest.mark.parametrize(("table", "change"), CHANGES)
async def test_a_service_has_no_right_to_change_a_registry(
    bench: Bench, test_database: TestDatabase, table: str, change: str
) -> None:
    await fill(bench)
    async with Database(test_database.dsn_of("signature")) as service:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"permission denied for table {table}"):
            await service.execute(change)


async def test_the_database_itself_refuses_a_mandate_that_ends_before_it_begins(bench: Bench) -> None:
    backwards = an.mandate_granted.model_copy(update={"valid_until": an.mandate_granted.valid_from})
    with pytest.raises(asyncpg.CheckViolationError):
        await say(bench.history, backwards)
    assert await bench.history.load(collectivite_stream(COMMUNE).id) == []


async def test_what_is_decided_is_a_fact_with_who_decided_it_and_why(bench: Bench) -> None:
    await fill(bench)
    await set_circuit(bench, SIGNATURE, collectivite="*", headers=OPERATOR)
    events = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [type(one.data) for one in events] == [
        facts.CollectiviteOpened,
        facts.MandateGranted,
        facts.DelegationGiven,
        facts.CircuitSet,
        facts.MandateEnded,
        facts.DelegationEnded,
    ]
    assert {one.actor for one in events} == {"amina"}
    assert [getattr(one.data, "reason", "") for one in events[2:]] == [
        "congés",
        "règlement intérieur",
        "démission",
        "retour",
    ]
    (of_all,) = await bench.history.load(platform_stream("defaults").id)
    assert (of_all.collectivite, type(of_all.data)) == ("*", facts.CircuitSet)
    assert all(one.occurred_at == NOW for one in [*events, of_all])


async def test_whoever_reads_in_the_collectivite_is_shown_its_stream(bench: Bench, database: Database) -> None:
    await fill(bench)
    app = service_app("history", "", checks={})
    lookups = Lookups(bench.history, PostgresRows(database), MemoryDocuments())
    app.include_router(stream_routes(lookups, caller=caller_dependency(checker())))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://history", headers=ADMINISTRATOR) as http:
        path = f"/v1/streams/collectivite:{COMMUNE}/events"
        shown = (await http.get(path)).json()["items"]
        assert [(one["kind"], one["actor"]) for one in shown[:2]] == [
            ("collectivite.opened.v1", "amina"),
            ("mandate.granted.v1", "amina"),
        ]
        assert refusal(await http.get(path, headers=ELSEWHERE)) == (404, "stream-not-found")


async def test_no_certificate_is_in_a_fact_for_its_subject_may_name_a_person(bench: Bench) -> None:
    await bench.recorded("/v1/mandates", {**MANDATE, "certificate": pem(certificate())})
    (_, granted) = await bench.history.recorded(collectivite_stream(COMMUNE).id)
    assert "CERTIFICATE" not in granted.body


# --- Several at once ---------------------------------------------------------------------------------------------


async def test_two_administrators_at_once_both_succeed(bench: Bench) -> None:
    people = [f"p{number}" for number in range(6)]
    answers = await asyncio.gather(
        *(bench.http.post("/v1/mandates", json={**MANDATE, "person": person}) for person in people)
    )
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(str(one["person"]) for one in await bench.mandates()) == people


async def test_the_same_mandate_asked_many_times_at_once_is_one_fact(bench: Bench) -> None:
    body = {**MANDATE, "mandate_id": str(new_id())}
    answers = await asyncio.gather(*(bench.http.post("/v1/mandates", json=body) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    events = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [type(one.data) for one in events] == [facts.CollectiviteOpened, facts.MandateGranted]


async def test_of_two_collectivites_that_give_one_id_at_once_one_has_it(bench: Bench) -> None:
    body = {**MANDATE, "mandate_id": str(new_id())}
    elsewhere = {**body, "collectivite": OTHER_COMMUNE}
    answers = await asyncio.gather(
        bench.http.post("/v1/mandates", json=body),
        bench.http.post("/v1/mandates", json=elsewhere, headers=ELSEWHERE),
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]


PROJECTIONS = {
    "mandates": ("mandate", "mandate_end"),
    "circuits": ("circuit",),
    "delegations": ("delegation", "delegation_end"),
    "seals": ("seal_choice",),
}


# --- What follows can be made again ------------------------------------------------------------------------------


async def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every registry."""
    tables = [table for filled in PROJECTIONS.values() for table in filled]
    return {
        table: [tuple(row) for row in await database.fetch(f"select * from {table} order by 1")]  # noqa: S608
        for table in tables
    }


async def test_what_is_made_again_from_the_facts_is_what_was_there(bench: Bench, database: Database) -> None:
    await fill(bench)
    await bench.recorded("/v1/mandates", {**MANDATE, "certificate": pem(certificate())})
    await set_circuit(bench, collectivite="*", headers=OPERATOR)
    await choose_seal(bench, has_seal=True)
    await choose_seal(bench, has_seal=False)
    before = await rows(database)
    assert all(before.values())
    for projection, tables in PROJECTIONS.items():
        await database.execute(f"truncate {', '.join(tables)}")
        await database.fetch("select rebuild_projection($1)", projection)
    assert await rows(database) == before


async def test_who_reads_while_a_registry_is_made_again_sees_the_old_rows_then_the_new(
    bench: Bench, test_database: TestDatabase, database: Database
) -> None:
    await bench.recorded("/v1/mandates", MANDATE)
    await database.execute("update mandate set person = 'louise'")  # as no fact says
    rebuilding = await asyncpg.connect(test_database.dsn())
    try:
        async with rebuilding.transaction():
            await rebuilding.execute("select rebuild_projection('mandates')")
            assert [one["person"] for one in await bench.mandates()] == ["louise"]
        assert [one["person"] for one in await bench.mandates()] == ["camille"]
    finally:
        await rebuilding.close()


async def test_what_was_in_the_tables_before_they_followed_from_facts_stays_and_comes_first(
    postgres: LocalPostgres,
) -> None:
    owner = await asyncpg.connect(postgres.dsn())
    await owner.execute("create database before_facts")
    await owner.close()
    dsn = postgres.dsn("before_facts")
    old = await asyncpg.connect(dsn)
    for step in sorted(steps(), key=lambda file: file.name):
        if step.name < "009":
            await old.execute(step.read_text("utf-8"))
    for reason in ("d'abord", "ensuite"):
        await old.execute(
            """insert into circuit (collectivite, flux_kind, steps, reason, changed_by, changed_at)
            values ($1, '*', '[{"kind": "seal", "any_of": [], "domain": "", "name": ""}]', $2, 'amina', now())""",
            COMMUNE,
            reason,
        )
    for step in sorted(steps(), key=lambda file: file.name):
        if step.name >= "009":
            await old.execute(step.read_text("utf-8"))
    await old.close()
    async with Database(dsn) as database:
        registries = PostgresRegistries(database)
        await say(PostgresHistory(database), an.circuit_set)
        changes = await registries.circuit_changes(COMMUNE)
        assert [one.reason for one in changes] == [an.circuit_set.reason, "ensuite", "d'abord"]

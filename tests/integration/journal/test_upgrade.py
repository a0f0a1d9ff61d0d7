"""What version 0.1 wrote is brought up to date once: rows of tables become facts, and the tables follow from them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import rfc8785

from local.postgres.server import LocalPostgres
from pes.schemas.packs import BUILT_IN, built_in
from pes.vocabulary import Pack
from shared.facts import collectivite
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.flux import ReplyReceived, ReplyUnmatched
from shared.facts.lifecycles import collectivite as collectivites
from shared.facts.lifecycles import flux as lifecycle
from shared.facts.lifecycles import platform, reply
from shared.facts.platform import PackInstalled
from shared.facts.reservations import NOMFIC, Reservation, reservations_of
from shared.facts.streams import Stream, StreamKind, collectivite_stream, flux_stream, platform_stream
from shared.journal import upgrade
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import migrate
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE
from tests.recording import begun

BEFORE = Path(__file__).parent / "before_streams"
NOW = datetime(2026, 3, 31, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
DEPUTY, MAYOR, ABSENCE = UUID(int=1), UUID(int=2), UUID(int=3)
STEPS = [
    {"kind": "visa", "any_of": ["amina"], "domain": "depense", "name": "Finances"},
    {"kind": "signature", "any_of": [], "domain": "", "name": ""},
]
TABLES = (
    "mandate", "mandate_end", "circuit", "delegation", "delegation_end", "control_policy", "schema_pack"
)  # fmt: skip
# What changes when a table becomes a projection: where its rows stand, what it is called, and bytes beside facts.
ELSEWHERE = {"position", "archive", "certificate_pem"}
RENAMED = {"role": "use"}
_NUMBERS = count(1)

MANDATE = """
insert into mandate (mandate_id, collectivite, person, name, act, valid_from, valid_until, certificate_sha256,
    certificate_until, certificate_pem, reason, recorded_by, recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
MANDATE_END = (
    "insert into mandate_end (mandate_id, ended_at, reason, recorded_by, recorded_at) values ($1, $2, $3, $4, $5)"
)
CIRCUIT = """
insert into circuit (collectivite, flux_kind, steps, reason, changed_by, changed_at) values ($1, $2, $3, $4, $5, $6)
"""
DELEGATION = """
insert into delegation (delegation_id, collectivite, absent, substitute, valid_from, valid_until, reason, recorded_by,
    recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
DELEGATION_END = """
insert into delegation_end (delegation_id, ended_at, reason, recorded_by, recorded_at) values ($1, $2, $3, $4, $5)
"""
POLICY = """
insert into control_policy (collectivite, code, severity, reason, changed_by, changed_at)
values ($1, $2, $3, $4, $5, $6)
"""
PACK = """
insert into schema_pack (pack_id, digest, archive, role, effective_from, effective_until, installed_at, installed_by)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
FACT = "insert into journal (flux_id, version, event_id, collectivite, kind, body) values ($1, $2, $3, $4, $5, $6)"
CLAIM = "insert into claim (scope, kind, value, flux_id) values ($1, $2, $3, $4)"


@pytest.fixture
async def dsn(postgres: LocalPostgres) -> AsyncIterator[str]:
    """Lend a database of version 0.1, filled by the statements of its adapters."""
    name = f"before_streams_{next(_NUMBERS)}"
    await execute(postgres.dsn(), f"create database {name} template template0")
    url = postgres.dsn(name)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "create table schema_step (name text primary key, applied_at timestamptz default now())"
        )
        for step in sorted(BEFORE.glob("*.sql")):
            await connection.execute(step.read_text("utf-8"))
            await connection.execute("insert into schema_step (name) values ($1)", step.name)
        for statement, *values in old_rows():
            await connection.execute(str(statement), *values)
    finally:
        await connection.close()
    yield url
    await execute(postgres.dsn(), f"drop database {name} with (force)")


def old_rows() -> Iterator[tuple[object, ...]]:
    """Yield the statements of version 0.1, with their values."""
    files = built_in()
    yield PACK, "dgfip-6.0", files.digest, files.archive(), "shadow", date(2027, 1, 1), None, NOW - DAY, "karima"
    yield PACK, BUILT_IN, "e" * 64, b"PK", "active", date(2020, 1, 1), date(2027, 6, 1), NOW, "heliotrope"
    yield POLICY, "*", "tiers.siret", "warning", "Tiers étrangers", "karima", NOW - DAY
    yield POLICY, COMMUNE, "tiers.siret", "blocking", "Ici, si", "amina", NOW
    yield POLICY, COMMUNE, "tiers.siret", None, "Comme partout", "amina", NOW - MINUTE  # another machine's clock
    yield CIRCUIT, "*", "*", "[]", "Rien pour tous", "karima", NOW
    yield CIRCUIT, COMMUNE, "depense", json.dumps(STEPS), "Note 12", "amina", NOW + MINUTE
    sha256, until, pem = "f" * 64, NOW + 300 * DAY, "-----BEGIN CERTIFICATE-----"
    yield MANDATE, MAYOR, COMMUNE, "camille", "Camille", "PV", NOW, None, "", None, "", "", "amina", NOW + 2 * MINUTE
    operator = (sha256, until, pem, "Administrateur absent", "karima", NOW - 2 * DAY)
    yield MANDATE, DEPUTY, OTHER_COMMUNE, "dominique", "Dominique", "Arrêté", NOW, NOW + 9 * DAY, *operator
    yield MANDATE_END, MAYOR, NOW + 5 * DAY, "Démission", "amina", NOW + MINUTE  # before it began, says its clock
    yield MANDATE_END, MAYOR, NOW + 4 * DAY, "Plus tôt", "amina", NOW + 3 * MINUTE
    yield DELEGATION, ABSENCE, COMMUNE, "camille", "karim", NOW, NOW + DAY, "Congés", "camille", NOW + 4 * MINUTE
    yield DELEGATION_END, ABSENCE, NOW + MINUTE, "Retour", "camille", NOW + 5 * MINUTE
    yield from flux(COMMUNE, an.imported, an.validated)
    yield from flux(OTHER_COMMUNE, an.imported, an.invalidated)
    yield from unmatched_reply()


def flux(siren: str, *facts: Fact) -> Iterator[tuple[object, ...]]:
    """Yield what version 0.1 wrote of a flux: in the envelope, nothing has changed."""
    stream = flux_stream(new_id())
    for version, fact in enumerate(facts, 1):
        event = begun(fact, stream=stream, collectivite=siren, at=NOW).model_copy(update={"version": version})
        yield FACT, stream.id, version, event.event_id, siren, event.kind, event.to_bytes().decode()
        for name in reservations_of(fact, siren):
            yield CLAIM, "dgfip" if name.kind == NOMFIC else name.scope, name.kind, name.value, stream.id


def unmatched_reply() -> Iterator[tuple[object, ...]]:
    """Yield what version 0.1 wrote of a reply that belongs to no flux: a stream that called itself a flux."""
    for version, event in enumerate(an.reply_of_no_flux(NOW), 1):
        fields = json.loads(event.model_copy(update={"version": version}).to_bytes())
        del fields["stream"]
        fields["flux_id"] = fields.pop("stream_id")
        body = rfc8785.dumps(fields).decode()
        yield FACT, event.stream_id, version, event.event_id, event.collectivite, event.kind, body
        for name in reservations_of(event.data, event.collectivite):
            yield CLAIM, name.scope, name.kind, name.value, event.stream_id


async def execute(dsn: str, statement: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def loaded(dsn: str, stream: Stream | UUID) -> list[Event]:
    async with Database(dsn) as database:
        return await PostgresHistory(database).load(stream if isinstance(stream, UUID) else stream.id)


async def rows_of(dsn: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of each table that version 0.1 wrote, as far as they are to stay the same."""
    found = {}
    for table in TABLES:
        rows = [dict(row) for row in await execute(dsn, f"select * from {table}")]  # noqa: S608  # our own names
        kept = [{RENAMED.get(key, key): row[key] for key in row if key not in ELSEWHERE} for row in rows]
        found[table] = sorted(kept, key=str)
    return found


async def journal(dsn: str) -> list[asyncpg.Record]:
    return await execute(dsn, "select * from journal order by position")


def shown(events: Iterable[Event]) -> list[tuple[Fact, str, datetime]]:
    return [(event.data, event.actor, event.occurred_at) for event in events]


async def test_each_row_becomes_the_fact_of_its_author_at_its_time_for_its_reason(dsn: str) -> None:
    await migrate(dsn)
    said = collectivite.PolicySet(code="tiers.siret", severity="blocking", reason="Ici, si")
    steps = (
        collectivite.StepSet(kind="visa", any_of=("amina",), domain="depense", name="Finances"),
        collectivite.StepSet(kind="signature"),
    )
    mandate = collectivite.MandateGranted(
        mandate_id=MAYOR, person="camille", name="Camille", act="PV", valid_from=NOW
    )
    first_end = collectivite.MandateEnded(mandate_id=MAYOR, ended_at=NOW + 5 * DAY, reason="Démission")
    absence = collectivite.DelegationGiven(
        delegation_id=ABSENCE,
        absent="camille",
        substitute="karim",
        valid_from=NOW,
        valid_until=NOW + DAY,
        reason="Congés",
    )
    told = await loaded(dsn, collectivite_stream(COMMUNE))
    assert shown(told) == [
        (collectivite.CollectiviteOpened(siren=COMMUNE, reason=upgrade.REASON), "heliotrope", NOW),
        (said, "amina", NOW),
        (said.model_copy(update={"severity": None, "reason": "Comme partout"}), "amina", NOW - MINUTE),
        (collectivite.CircuitSet(flux_kind="depense", steps=steps, reason="Note 12"), "amina", NOW + MINUTE),
        (mandate, "amina", NOW + 2 * MINUTE),
        (first_end, "amina", NOW + MINUTE),
        (first_end.model_copy(update={"ended_at": NOW + 4 * DAY, "reason": "Plus tôt"}), "amina", NOW + 3 * MINUTE),
        (absence, "camille", NOW + 4 * MINUTE),
        (
            collectivite.DelegationEnded(delegation_id=ABSENCE, ended_at=NOW + MINUTE, reason="Retour"),
            "camille",
            NOW + 5 * MINUTE,
        ),
    ]
    _, granted = await loaded(dsn, collectivite_stream(OTHER_COMMUNE))
    assert isinstance(granted.data, collectivite.MandateGranted)
    assert (granted.actor, granted.data.reason, granted.data.certificate_sha256) == (
        "karima",
        "Administrateur absent",
        "f" * 64,
    )


async def test_what_holds_for_all_is_in_the_streams_of_the_platform(dsn: str) -> None:
    await migrate(dsn)
    assert shown(await loaded(dsn, platform_stream("defaults"))) == [
        (
            collectivite.PolicySet(code="tiers.siret", severity="warning", reason="Tiers étrangers"),
            "karima",
            NOW - DAY,
        ),
        (collectivite.CircuitSet(flux_kind="*", steps=(), reason="Rien pour tous"), "karima", NOW),
    ]
    trial, ours = await loaded(dsn, platform_stream("packs"))
    assert trial.data == PackInstalled(
        pack=Pack(pack_id="dgfip-6.0", digest=built_in().digest), use="shadow", effective_from=date(2027, 1, 1)
    )
    assert (trial.actor, trial.occurred_at, trial.collectivite) == ("karima", NOW - DAY, "*")
    assert isinstance(ours.data, PackInstalled)
    assert (ours.data.pack.pack_id, ours.data.effective_until) == (BUILT_IN, date(2027, 6, 1))


async def test_what_follows_from_the_facts_is_what_the_tables_held(dsn: str) -> None:
    before = await rows_of(dsn)
    assert all(before.values())
    await migrate(dsn)
    assert await rows_of(dsn) == before
    await execute(dsn, "select rebuild_projection(name) from projection")
    assert await rows_of(dsn) == before
    archives = {row["digest"]: row["archive"] for row in await execute(dsn, "select * from schema_archive")}
    assert archives == {built_in().digest: built_in().archive(), "e" * 64: b"PK"}


async def test_doing_it_again_adds_nothing(dsn: str) -> None:
    assert upgrade.STEP in await migrate(dsn)
    once, rows = await journal(dsn), await rows_of(dsn)
    assert await migrate(dsn) == []
    await execute(dsn, f"delete from schema_step where name = '{upgrade.STEP}'")  # noqa: S608  # our own name
    assert await migrate(dsn) == [upgrade.STEP]
    assert (await journal(dsn), await rows_of(dsn)) == (once, rows)


async def test_an_author_longer_than_a_fact_may_name_is_cut_and_is_no_new_one_when_done_again(dsn: str) -> None:
    await execute(dsn, CIRCUIT, OTHER_COMMUNE, "*", "[]", "Note 13", "amina" * 60, NOW)
    await migrate(dsn)
    circuits = [
        event
        for event in await loaded(dsn, collectivite_stream(OTHER_COMMUNE))
        if isinstance(event.data, collectivite.CircuitSet)
    ]
    assert [event.actor for event in circuits] == ["amina" * 51]
    once = await journal(dsn)
    await execute(dsn, f"delete from schema_step where name = '{upgrade.STEP}'")  # noqa: S608  # our own name
    assert await migrate(dsn) == [upgrade.STEP]
    assert await journal(dsn) == once


async def test_an_upgrade_that_was_interrupted_has_changed_nothing_and_starts_again(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await journal(dsn)
    monkeypatch.setattr(Event, "to_bytes", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await migrate(dsn)
    monkeypatch.undo()
    assert await journal(dsn) == before  # down to the names of its columns
    assert upgrade.STEP in await migrate(dsn)
    assert len(await loaded(dsn, collectivite_stream(COMMUNE))) == 9


async def test_two_upgrades_at_once_are_one(dsn: str) -> None:
    applied = await asyncio.gather(migrate(dsn), migrate(dsn))
    assert sorted(upgrade.STEP in one for one in applied) == [False, True]
    assert len(await loaded(dsn, collectivite_stream(COMMUNE))) == 9


async def test_every_stream_can_be_played_from_its_beginning(dsn: str) -> None:
    await migrate(dsn)
    folds: dict[StreamKind, Callable[[Iterable[Fact]], Any]] = {
        StreamKind.FLUX: lifecycle.fold,
        StreamKind.REPLY: reply.fold,
        StreamKind.COLLECTIVITE: collectivites.fold,
        StreamKind.PLATFORM: platform.fold,
    }
    seen = set()
    for row in await execute(dsn, "select distinct stream_id from journal"):
        past = await loaded(dsn, row["stream_id"])
        fold = folds[past[0].stream.kind]
        assert fold(event.data for event in past).version == len(past)
        assert {event.stream for event in past} == {past[0].stream}
        seen.add((past[0].stream.kind, past[0].collectivite))
    assert {kind for kind, _ in seen} == set(StreamKind)
    assert (StreamKind.REPLY, "unattributed") in seen


async def test_the_events_of_version_0_1_stay_as_they_were_written(dsn: str) -> None:
    before = [row["body"] for row in await journal(dsn)]
    assert {json.loads(body)["kind"] for body in before} >= {
        ReplyReceived.model_fields["kind"].default,
        ReplyUnmatched.model_fields["kind"].default,
    }
    await migrate(dsn)
    assert [row["body"] for row in await journal(dsn)][: len(before)] == before


async def test_a_name_that_was_taken_is_its_collectivites_own(dsn: str) -> None:
    await migrate(dsn)
    names = {Reservation(row["scope"], row["kind"], row["value"]) for row in await execute(dsn, "table reservation")}
    ours = [*await loaded(dsn, collectivite_stream(COMMUNE)), *await loaded(dsn, collectivite_stream(OTHER_COMMUNE))]
    assert names == {
        *(name for event in ours for name in reservations_of(event.data, event.collectivite)),
        *reservations_of(an.imported, COMMUNE),
        *reservations_of(an.validated, COMMUNE),
        *reservations_of(an.imported, OTHER_COMMUNE),
        *reservations_of(an.reply_received, "unattributed"),
    }

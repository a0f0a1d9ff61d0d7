"""What the history shows: lists, one flux now and then, its facts; to those who may see them, and to nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from uuid import UUID

import httpx
import pytest

from services.history import listing
from services.history.adapters.rows import PostgresRows
from services.history.api import routes, stream_routes
from services.history.lookups import Lookups
from services.history.ports import Seen
from services.history.projection import Projection
from services.history.views import row_of
from shared.facts.envelope import new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxCancelled, FluxImported, FluxValidated
from shared.facts.streams import BY_KIND
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.order import ORDER_CHANNEL
from shared.journal.postgres import Database, Listener
from shared.journal.reading import read_flux
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.fakes.memory_documents import MemoryDocuments
from tests.ordering import order_all
from tests.recording import begun
from tests.stage import PATIENCE_SECONDS

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
BATCH = 10
SENT: list[Fact] = [an.validated, an.signature_requested, an.signed, an.requested, an.attempted, an.transmitted]
ACKNOWLEDGED = [*SENT, an.reply_received, an.acknowledged]


@dataclass
class Shown:
    """The API, and the means to make things happen."""

    http: httpx.AsyncClient
    history: PostgresHistory
    owner: Database
    projection: Projection
    documents: MemoryDocuments
    number: int = 0
    filename: str = "flux.xml"

    async def happen(self, facts: list[Fact], collectivite: str = COMMUNE) -> UUID:
        """Record a flux: an import, then these facts, one second apart; order it, and let the list catch up."""
        self.number += 1
        imported = FluxImported(document=Document(sha256=f"{self.number:064x}", size=10), filename=self.filename)
        return await self.recorded(imported, facts, collectivite)

    async def recorded(self, imported: FluxImported, facts: list[Fact], collectivite: str = COMMUNE) -> UUID:
        """Record a flux whose file is this one; see `happen`."""
        first = begun(imported, collectivite=collectivite)
        events = [first]
        for second, fact in enumerate(facts, start=1):
            unique = fact
            if fact is an.validated and self.number > 1:
                unique = an.validated_again
            if fact is an.reply_received:
                document = Document(sha256=f"{self.number:063x}f", size=1)
                unique = an.reply_received.model_copy(update={"document": document})
            events.append(first.follow(unique, actor="x", at=NOON + timedelta(seconds=second)))
        await self.history.append(events, expected_version=0)
        await self.catch_up()
        return first.flux_id

    async def go_on(self, flux_id: UUID, facts: list[Fact]) -> None:
        """Record more of a flux."""
        past = await self.history.load(flux_id)
        events = [past[-1].follow(fact, actor="x", at=NOON + timedelta(minutes=1)) for fact in facts]
        if events:
            await self.history.append(events, expected_version=len(past))
        await self.catch_up()

    async def catch_up(self) -> None:
        await order_all(self.owner)
        while await self.projection.catch_up():
            pass

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(f"/v1/flux{path}", headers=headers or bearer())

    async def ids(self, query: str = "", **headers: str) -> list[UUID]:
        answer = await self.get(query, **headers)
        assert answer.status_code == 200, answer.text
        return [UUID(row["flux_id"]) for row in answer.json()["flux"]]


@pytest.fixture
async def shown(test_database: TestDatabase) -> AsyncIterator[Shown]:
    role = test_database.dsn_of("history")
    async with Database(role) as database, Database(test_database.dsn()) as owner:
        history, rows = PostgresHistory(database), PostgresRows(database)
        listener = Listener(role, ORDER_CHANNEL)
        projection = Projection(rows, history, listener, limit=BATCH)
        app = service_app("history", "", checks={})
        documents = MemoryDocuments()
        lookups, caller = Lookups(history, rows, documents), caller_dependency(checker())
        app.include_router(routes(lookups, caller=caller))
        app.include_router(stream_routes(lookups, caller=caller))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://history") as http:
            yield Shown(http, PostgresHistory(owner), owner, projection, documents)


async def test_a_flux_is_shown_with_all_that_is_known_of_it(shown: Shown) -> None:
    flux_id = await shown.happen(ACKNOWLEDGED)
    flux = (await shown.get(f"/{flux_id}")).json()
    assert flux["state"] == "acknowledged"
    assert flux["on_screen"] == "Acquitté"
    assert flux["version"] == len(ACKNOWLEDGED) + 1
    assert flux["nomfic"] == an.header.nomfic
    assert (flux["cod_col"], flux["cod_bud"], flux["collectivite"]) == ("123", "00", COMMUNE)
    assert flux["sha256"] == f"{1:064x}"
    assert flux["document"] == an.signed_document.model_dump()
    assert flux["remote_name"] == an.remote_name
    assert len(flux["bordereaux"]) == 1


async def test_a_flux_is_shown_as_it_was_at_any_moment(shown: Shown) -> None:
    flux_id = await shown.happen(ACKNOWLEDGED)
    states = []
    for second in range(len(ACKNOWLEDGED) + 1):
        at = (NOON + timedelta(seconds=second, milliseconds=1)).isoformat().replace("+", "%2B")
        states.append((await shown.get(f"/{flux_id}?at={at}")).json()["state"])
    assert states == [
        "imported",
        "draft",
        "to_sign",
        "ready",
        "sending",
        "sending",
        "awaiting_ack",
        "awaiting_ack",
        "acknowledged",
    ]


async def test_before_its_import_there_was_no_flux(shown: Shown) -> None:
    flux_id = await shown.happen([])
    answer = await shown.get(f"/{flux_id}?at=2020-01-01T00:00:00Z")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("flux-not-yet")


async def test_a_moment_without_a_zone_is_refused(shown: Shown) -> None:
    flux_id = await shown.happen([])
    assert (await shown.get(f"/{flux_id}?at=2026-02-02T12:00:00")).status_code == 422


async def test_the_facts_are_given_in_order_as_they_were_recorded(shown: Shown) -> None:
    flux_id = await shown.happen(ACKNOWLEDGED)
    events = (await shown.get(f"/{flux_id}/events")).json()["events"]
    assert [event["version"] for event in events] == list(range(1, len(ACKNOWLEDGED) + 2))
    assert events[0]["kind"] == "flux.imported.v1"
    assert events[0]["actor"] == "amina"
    assert events[-1]["kind"] == "flux.acknowledged.v1"
    assert events[0]["occurred_at"] == "2026-02-02T12:00:00.000000Z"


async def test_the_list_is_most_recent_first_and_can_be_paged(shown: Shown) -> None:
    flux = [await shown.happen([]) for _ in range(7)]
    assert await shown.ids() == flux[::-1]
    first = (await shown.get("?limit=3")).json()
    second = (await shown.get(f"?limit=3&before={first['next']}")).json()
    third = (await shown.get(f"?limit=3&before={second['next']}")).json()
    pages = [[UUID(row["flux_id"]) for row in page["flux"]] for page in (first, second, third)]
    assert pages == [flux[:3:-1], flux[3:0:-1], flux[:1]]
    assert third["next"] is None


async def test_the_list_can_be_narrowed_to_some_states(shown: Shown) -> None:
    imported, acknowledged = await shown.happen([]), await shown.happen(ACKNOWLEDGED)
    assert await shown.ids("?state=imported") == [imported]
    assert await shown.ids("?state=imported&state=acknowledged") == [acknowledged, imported]
    assert await shown.ids("?state=rejected") == []
    assert (await shown.get("?state=lost")).status_code == 422


async def test_nobody_sees_the_flux_of_another_collectivite(shown: Shown) -> None:
    ours, theirs = await shown.happen([]), await shown.happen([], OTHER_COMMUNE)
    assert await shown.ids() == [ours]
    for path in ("", "/events", "?at=2026-02-03T00:00:00Z"):
        answer = await shown.get(f"/{theirs}{path}")
        missing = await shown.get(f"/{new_id()}{path}")
        assert answer.status_code == missing.status_code == 404
        assert answer.json()["title"] == missing.json()["title"]
    assert (await shown.get(f"?collectivite={OTHER_COMMUNE}")).status_code == 403


async def test_an_operator_sees_all_or_one(shown: Shown) -> None:
    ours, theirs = await shown.happen([]), await shown.happen([], OTHER_COMMUNE)
    operator = bearer("*", role=Role.OPERATOR)
    assert await shown.ids("", **operator) == [theirs, ours]
    assert await shown.ids(f"?collectivite={OTHER_COMMUNE}", **operator) == [theirs]


async def test_a_list_holds_what_the_caller_reads_and_no_more(shown: Shown) -> None:
    ours, theirs = await shown.happen([]), await shown.happen([], OTHER_COMMUNE)
    both = bearer(role=Role.SIGNATAIRE, also={OTHER_COMMUNE: Role.AUDITEUR})
    assert await shown.ids("", **both) == [theirs, ours]
    assert await shown.ids(f"?collectivite={OTHER_COMMUNE}", **both) == [theirs]
    assert await shown.ids("", **bearer("219900025", also={OTHER_COMMUNE: Role.AUDITEUR})) == [theirs]


async def test_a_reply_that_belongs_to_no_flux_is_shown_to_those_who_read_everywhere(shown: Shown) -> None:
    reply, *_ = await shown.history.append(an.reply_of_no_flux(NOON), expected_version=0)
    stream = reply.flux_id
    bodies = [one.body for one in await shown.history.recorded(stream)]
    for role in (Role.OPERATOR, Role.AUDITEUR):
        told = await shown.http.get(f"/v1/streams/{stream}/events", headers=bearer("*", role=role))
        assert told.text == f'{{"stream_id": "{stream}", "next": null, "items": [{",".join(bodies)}]}}'
        assert (await shown.get(f"/{stream}", **bearer("*", role=role))).status_code == 404
    hidden = await shown.http.get(f"/v1/streams/{stream}/events", headers=bearer(COMMUNE, OTHER_COMMUNE))
    assert (hidden.status_code, hidden.json()["type"]) == (404, "urn:heliotrope:problem:stream-not-found")
    for path in ("", "/events", "?at=2026-02-03T00:00:00Z"):
        hidden = await shown.get(f"/{stream}{path}", **bearer(COMMUNE, OTHER_COMMUNE, role=Role.OPERATOR))
        assert (hidden.status_code, hidden.json()["type"]) == (404, "urn:heliotrope:problem:flux-not-found")


async def test_without_a_token_nothing_is_shown(shown: Shown) -> None:
    flux_id = await shown.happen([])
    for path in ("", f"/{flux_id}", f"/{flux_id}/events"):
        assert (await shown.http.get(f"/v1/flux{path}")).status_code == 401


async def test_an_invalid_flux_carries_its_problem(shown: Shown) -> None:
    finding = an.finding.model_copy(update={"severity": "blocking"})
    flux_id = await shown.happen([an.invalidated.model_copy(update={"findings": (finding,)})])
    flux = (await shown.get(f"/{flux_id}")).json()
    assert flux["problem"]["status"] == 422
    assert flux["problem"]["findings"][0]["code"] == finding.code
    assert finding.message in flux["problem"]["detail"]


async def test_a_suspended_sending_says_why_and_until_when(shown: Shown) -> None:
    flux_id = await shown.happen([*SENT[:-1], an.held])
    flux = (await shown.get(f"/{flux_id}")).json()
    assert flux["on_screen"] == "Envoi suspendu"
    assert flux["held"]["cause"] == an.held.cause
    (row,) = (await shown.get("")).json()["flux"]
    assert (row["on_screen"], row["is_held"]) == ("Envoi suspendu", True)


async def test_the_list_says_what_kind_of_step_a_flux_waits_at(shown: Shown) -> None:
    visa = await shown.happen([an.validated, an.visa_requested])
    signature = await shown.happen([an.validated, an.visa_requested, an.visa_given])
    assert await on_screen(shown) == [(signature, "À signer"), (visa, "À viser")]
    (row, _) = (await shown.get("")).json()["flux"]
    assert (row["state"], row["step"]) == ("to_sign", "signature")


async def test_a_flux_that_was_listed_before_its_step_was_kept_is_read_again(shown: Shown) -> None:
    flux_id = await shown.happen([an.validated, an.visa_requested, an.signature_refused])
    step = files("services.history.sql").joinpath("016_step.sql").read_text("utf-8")
    await shown.owner.execute(f"alter table flux_view drop column step;{step}")
    assert await on_screen(shown) == [(flux_id, "Signature refusée")]
    assert await shown.projection.retry_skipped() == 1
    assert await on_screen(shown) == [(flux_id, "Visa refusé")]


async def test_the_list_made_again_from_the_facts_is_the_same(shown: Shown) -> None:
    histories: list[list[Fact]] = [[], SENT, ACKNOWLEDGED, [an.invalidated]]
    ids = [await shown.happen(facts) for facts in histories]
    before = (await shown.get("")).json()
    await shown.owner.execute("truncate flux_view")
    await shown.owner.execute("delete from consumer_cursor")
    assert await shown.ids() == []
    await shown.catch_up()
    assert (await shown.get("")).json() == before
    for flux_id, row in zip(ids, before["flux"][::-1], strict=True):
        folded = row_of(read_flux(await shown.history.recorded(flux_id)))
        assert folded is not None
        assert folded.shown() == row


async def test_a_name_that_no_table_takes_does_not_stop_the_list(shown: Shown) -> None:
    shown.filename = "a\x00b\r.xml"
    odd = await shown.happen([])
    following = await shown.happen([])
    rows = (await shown.get("")).json()["flux"]
    assert [(UUID(row["flux_id"]), row["filename"]) for row in rows] == [
        (following, "a?b?.xml"),
        (odd, "a?b?.xml"),
    ]


async def test_a_fact_from_a_newer_version_does_not_stop_the_list(shown: Shown) -> None:
    await shown.owner.execute(
        "insert into journal (stream_id, version, event_id, collectivite, kind, body) "
        "values (gen_random_uuid(), 1, gen_random_uuid(), '1', 'flux.teleported.v1', '{}')"
    )
    flux_id = await shown.happen([])
    assert await shown.ids() == [flux_id]


async def test_what_an_older_version_could_not_read_is_shown_once_one_can(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(FluxValidated))
        known, unknown = await shown.happen([]), await shown.happen([an.validated])
        assert await shown.projection.retry_skipped() == 0
        assert await on_screen(shown) == [(unknown, "Mis de côté"), (known, "En cours de contrôle")]
    assert await shown.projection.retry_skipped() == 1
    assert await on_screen(shown) == [(unknown, "Signature en préparation"), (known, "En cours de contrôle")]
    assert await shown.projection.retry_skipped() == 0


async def on_screen(shown: Shown) -> list[tuple[UUID, str]]:
    rows = (await shown.get("")).json()["flux"]
    return [(UUID(row["flux_id"]), row["on_screen"]) for row in rows]


async def test_a_flux_that_a_newer_version_wrote_to_is_shown_as_far_as_it_can_be_read(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux_id = await shown.happen([an.validated, an.signature_requested, an.signature_refused, an.signature_restarted])
    monkeypatch.delitem(BY_KIND, "signature.refused.v1")
    answer = await shown.get(f"/{flux_id}")
    assert answer.status_code == 200, answer.text
    flux = answer.json()
    assert (flux["state"], flux["on_screen"], flux["version"]) == ("to_sign", "Mis de côté", 5)
    assert flux["nomfic"] == an.header.nomfic
    assert (flux["set_aside"]["kind"], flux["set_aside"]["version"]) == ("signature.refused.v1", 4)
    assert "version plus récente" in flux["set_aside"]["reason"]
    before = (await shown.get(f"/{flux_id}?at={NOON.isoformat().replace('+00:00', 'Z')}")).json()
    assert (before["state"], before["version"], "set_aside" in before) == ("imported", 1, False)
    assert (await shown.get(f"/{flux_id}", **bearer(OTHER_COMMUNE))).status_code == 404


async def test_a_flux_of_which_nothing_can_be_read_says_so(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    flux_id = await shown.happen([an.validated])
    monkeypatch.delitem(BY_KIND, "flux.imported.v1")
    flux = (await shown.get(f"/{flux_id}")).json()
    assert (flux["flux_id"], flux["collectivite"], flux["on_screen"]) == (str(flux_id), COMMUNE, "Mis de côté")
    assert flux["set_aside"]["version"] == 1


@pytest.mark.parametrize("body", ['{"kind":"flux.teleported.v1"}', '{"b": 1,  "a":[2.50,"\\u00e9"]}'])
async def test_events_are_given_as_they_were_recorded_to_the_byte(shown: Shown, body: str) -> None:
    flux_id = await shown.happen([])
    imported = (await shown.history.recorded(flux_id))[0].body
    await shown.owner.execute(
        "insert into journal (stream_id, version, event_id, collectivite, kind, body) "
        "values ($1, 2, gen_random_uuid(), $2, 'flux.teleported.v1', $3)",
        flux_id,
        COMMUNE,
        body,
    )
    of_flux = await shown.get(f"/{flux_id}/events")
    of_stream = await shown.http.get(f"/v1/streams/{flux_id}/events", headers=bearer())
    for answer in (of_flux, of_stream):
        assert (answer.status_code, answer.content.endswith(f"[{imported},{body}]}}".encode())) == (200, True)


async def test_a_state_that_an_older_version_left_as_it_was_is_put_right(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux_id = await shown.happen([])
    with monkeypatch.context() as older:
        (imported,) = await shown.history.load(flux_id)
        older.delitem(BY_KIND, kind_of(FluxCancelled))
        cancelled = imported.follow(an.cancelled, actor="x", at=NOON)
        await shown.history.append([cancelled], expected_version=1)
        await shown.catch_up()
        assert await shown.ids("?state=imported") == [flux_id]
    await shown.projection.retry_skipped()
    assert await shown.ids("?state=cancelled") == [flux_id]


async def test_every_skipped_flux_is_tried_again_however_many_they_are(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(FluxImported))
        flux = [await shown.happen([]) for _ in range(2 * BATCH + 5)]
        assert await shown.ids() == []
    assert await shown.projection.retry_skipped() == len(flux)
    assert await shown.ids() == flux[::-1]


async def test_a_flux_skipped_again_while_it_is_tried_stays_to_be_tried(shown: Shown) -> None:
    rows = PostgresRows(shown.owner)
    flux_id = new_id()
    await rows.save([], read=[], skipped=[Seen(flux_id, 5)])
    (seen,) = await rows.skipped(None, 10)
    await rows.save([], read=[], skipped=[Seen(flux_id, 7)])  # by an older version that runs beside
    await rows.save([], read=[seen], skipped=[])
    assert await rows.skipped(None, 10) == [Seen(flux_id, 7)]
    await rows.save([], read=[Seen(flux_id, 7)], skipped=[])
    assert await rows.skipped(None, 10) == []


async def test_the_service_tries_skipped_flux_again_when_it_starts(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(FluxImported))
        flux_id = await shown.happen([])
        assert await shown.ids() == []
    retrying = asyncio.create_task(shown.projection.retry())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await shown.ids() != [flux_id]:
            await asyncio.sleep(0.02)
    retrying.cancel()
    with suppress(asyncio.CancelledError):
        await retrying


async def test_every_document_of_a_flux_is_listed_and_read_by_its_role_or_digest(shown: Shown) -> None:
    bytes_of = {
        name: await shown.documents.put_bytes(name.encode() * 100) for name in ("imported", "signed", "acquit")
    }
    imported = FluxImported(document=bytes_of["imported"], filename="mandats été.xml")
    facts: list[Fact] = [
        *SENT[:2],
        an.signed.model_copy(update={"document": bytes_of["signed"]}),
        an.requested,
        an.attempted,
        an.transmitted.model_copy(update={"document": bytes_of["signed"]}),
        an.reply_received.model_copy(update={"document": bytes_of["acquit"]}),
        an.acknowledged.model_copy(update={"reply": bytes_of["acquit"]}),
    ]
    flux_id = await shown.recorded(imported, facts)
    answer = (await shown.get(f"/{flux_id}/documents")).json()
    assert answer["next"] is None
    assert [(one["role"], one["name"], one["sha256"]) for one in answer["items"]] == [
        ("imported", "mandats été.xml", bytes_of["imported"].sha256),
        ("signed", "mandats été.xml", bytes_of["signed"].sha256),
        ("transmitted", an.remote_name, bytes_of["signed"].sha256),
        ("reply", an.reply_received.remote_name, bytes_of["acquit"].sha256),
    ]
    for role, name in (("imported", "imported"), ("transmitted", "signed"), ("reply", "acquit")):
        for which in (role, bytes_of[name].sha256):
            read = await shown.get(f"/{flux_id}/documents/{which}")
            assert read.content == name.encode() * 100
            assert read.headers["content-length"] == str(bytes_of[name].size)
            assert read.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
            assert read.headers["x-content-type-options"] == "nosniff"
    assert all(one["is_in_force"] for one in answer["items"])
    for which in ("cachet", "0" * 64, an.signed_document.sha256):
        missing = await shown.get(f"/{flux_id}/documents/{which}")
        assert (missing.status_code, missing.json()["type"]) == (404, "urn:heliotrope:problem:document-not-found")


async def test_nobody_reads_the_documents_of_another_collectivite(shown: Shown) -> None:
    theirs = await shown.happen([], OTHER_COMMUNE)
    for path in ("/documents", "/documents/imported"):
        answer = await shown.get(f"/{theirs}{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:heliotrope:problem:flux-not-found")
    reply, *_ = await shown.history.append(an.reply_of_no_flux(NOON), expected_version=0)
    operator = bearer("*", role=Role.OPERATOR)
    assert (await shown.get(f"/{reply.flux_id}/documents/reply", **operator)).status_code == 404


async def test_a_flux_is_found_by_its_nomfic_or_its_digest_in_what_the_caller_sees(shown: Shown) -> None:
    one, other = await shown.happen(SENT), await shown.happen([])
    theirs = await shown.happen([], OTHER_COMMUNE)
    assert await shown.ids(f"?nomfic={an.header.nomfic}") == [one]
    assert await shown.ids("?nomfic=PES") == []
    assert await shown.ids(f"?sha256={2:064x}") == [other]
    assert await shown.ids(f"?sha256={3:064x}") == []
    assert await shown.ids(f"?sha256={3:064x}", **bearer("*", role=Role.OPERATOR)) == [theirs]
    assert await shown.ids(f"?sha256={1:064x}&state=acknowledged") == []
    assert (await shown.get("?sha256=abc")).status_code == 422


async def test_the_list_can_be_seen_as_it_was(shown: Shown) -> None:
    sent, acknowledged = await shown.happen(SENT), await shown.happen(ACKNOWLEDGED)
    at = "2026-02-02T12:00:01.5Z"  # both have just been validated
    rows = (await shown.get(f"?at={at}")).json()["flux"]
    assert [(UUID(row["flux_id"]), row["state"], row["version"]) for row in rows] == [
        (acknowledged, "draft", 2),
        (sent, "draft", 2),
    ]
    assert await shown.ids(f"?at={at}&state=acknowledged") == []
    assert await shown.ids("?at=2026-02-02T12:01:00Z&state=acknowledged") == [acknowledged]
    assert await shown.ids("?at=2020-01-01T00:00:00Z") == []
    first = (await shown.get(f"?at={at}&limit=1")).json()
    assert await shown.ids(f"?at={at}&limit=1&before={first['next']}") == [sent]
    assert (await shown.get("?at=2026-02-02T12:00:00")).status_code == 422


async def test_a_page_of_the_past_looks_at_so_many_flux_and_says_where_to_go_on(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT_MAX", 2)
    oldest, *_ = [await shown.happen(SENT), await shown.happen([]), await shown.happen([])]
    page = (await shown.get("?at=2026-02-02T13:00:00Z&state=awaiting_ack")).json()
    assert page["flux"] == []
    assert await shown.ids(f"?at=2026-02-02T13:00:00Z&state=awaiting_ack&before={page['next']}") == [oldest]


async def test_a_file_whose_circuit_was_restarted_is_no_longer_the_signed_one(shown: Shown) -> None:
    abandoned = await shown.documents.put_bytes(b"abandoned")
    signed_in_part = an.bordereaux_signed.model_copy(update={"document": abandoned})
    flux_id = await shown.happen([an.validated, an.signature_requested, signed_in_part])
    for facts in ([], [an.signature_refused, an.signature_restarted]):
        await shown.go_on(flux_id, facts)
        items = (await shown.get(f"/{flux_id}/documents")).json()["items"]
        assert [(one["role"], one["is_in_force"]) for one in items] == [("imported", True), ("signed", False)]
        assert (await shown.get(f"/{flux_id}/documents/signed")).status_code == 404
        assert (await shown.get(f"/{flux_id}/documents/{abandoned.sha256}")).content == b"abandoned"


async def test_the_answer_that_counts_is_the_reply_handed_out(shown: Shown) -> None:
    first, second = [await shown.documents.put_bytes(one) for one in (b"first", b"second")]
    received = [an.reply_received.model_copy(update={"document": one}) for one in (first, second)]
    answered = an.acknowledged.model_copy(update={"reply": first})
    imported = FluxImported(document=Document(sha256=f"{99:064x}", size=10), filename="flux.xml")
    flux_id = await shown.recorded(imported, [*SENT, received[0], answered])
    await shown.go_on(flux_id, [received[1]])
    assert (await shown.get(f"/{flux_id}/documents/reply")).content == b"first"


@pytest.mark.parametrize("column", ["state", "step"])
async def test_a_line_that_a_newer_version_wrote_is_listed_as_set_aside(shown: Shown, column: str) -> None:
    other, newer = await shown.happen(SENT), await shown.happen([])
    await shown.owner.execute(f"update flux_view set {column} = 'archived' where flux_id = $1", newer)  # noqa: S608
    rows = (await shown.get("")).json()["flux"]
    assert [(UUID(row["flux_id"]), row["is_set_aside"]) for row in rows] == [(newer, True), (other, False)]
    assert rows[0]["on_screen"] == "Mis de côté"


@pytest.mark.parametrize("query", ["nomfic=%00", "at=0001-01-01T00:00:00%2B14:00", "at=9999-12-31T23:00:00-14:00"])
async def test_what_no_table_takes_is_refused(shown: Shown, query: str) -> None:
    assert (await shown.get(f"?{query}")).status_code == 422


# Each line takes a moment to be written, as on a busy server.
SLOW = """
create function take_a_moment() returns trigger language plpgsql as
    $$ begin perform pg_sleep(0.02); return new; end $$;
create trigger take_a_moment after update on flux_view for each row execute function take_a_moment();
"""


async def test_two_processes_that_keep_the_list_at_once_do_not_wait_for_each_other(shown: Shown) -> None:
    flux = [await shown.happen(SENT) for _ in range(10)]
    await shown.owner.execute(SLOW)
    lines = [row for one in flux if (row := row_of(read_flux(await shown.history.recorded(one))))]
    later = [line.model_copy(update={"version": line.version + number}) for number in (1, 2) for line in lines]
    seen = [Seen(one, 1) for one in flux]
    rows = PostgresRows(shown.owner)
    for version in range(0, len(later), len(lines)):
        one, other = later[version : version + len(lines)], later[version : version + len(lines)][::-1]
        await asyncio.gather(
            rows.save(one, read=seen, skipped=seen[::-1]),
            rows.save(other, read=seen[::-1], skipped=seen),
        )
    assert len(await shown.ids("?limit=500")) == len(flux)

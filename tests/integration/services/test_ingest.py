"""Importing over HTTP, on a real journal and document store: what comes in, what is refused, in which words."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from services.ingest.admission import admit
from services.ingest.api import routes
from services.ingest.importer import Importer
from shared.facts.fact import Fact
from shared.facts.flux import FluxCancelled, FluxImported
from shared.facts.reservations import bordereau_reservation, nomfic_reservation
from shared.facts.streams import BY_KIND
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from shared.web.uploads import Bounds
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.real.platform import sample
from tests.tracing import kept_spans

BYTES_MAX = 200_000
FILES_MAX = 4
PES = sample(1)


@dataclass
class Ingest:
    """The API, and what it leaves behind."""

    http: httpx.AsyncClient
    history: PostgresHistory
    database: Database
    folder: Path
    app: FastAPI

    async def send(self, content: bytes | AsyncIterator[bytes] = PES, **headers: str) -> httpx.Response:
        return await self.http.post("/v1/flux", content=content, headers={**bearer(), **headers})

    async def facts(self) -> list[str]:
        """Return the kinds of all the facts there are."""
        return [row["kind"] for row in await self.database.fetch("select kind from journal order by position")]

    def documents(self) -> list[str]:
        """Return the digests of all the documents there are."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def ingest(test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with Database(test_database.dsn("heliotrope_ingest"), timeout_seconds=5) as database:
        history = PostgresHistory(database)
        documents = DocumentStore(open_store(f"file://{tmp_path}"))
        app = service_app("ingest", "", checks={})
        importer = Importer(history=history, documents=documents, now=lambda: datetime.now(UTC), bytes_max=BYTES_MAX)
        app.include_router(routes(importer, caller=caller_dependency(checker()), bounds=Bounds(BYTES_MAX, FILES_MAX)))
        async with client(app) as http:
            yield Ingest(http, history, database, tmp_path, app)


@asynccontextmanager
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
        yield http


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def problem_of(answer: httpx.Response, status: int, slug: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = dict(answer.json())
    assert problem["type"] == f"urn:heliotrope:problem:{slug}"
    assert problem["status"] == status
    assert str(problem["title"])
    assert len(str(problem["detail"])) > 30
    return problem


async def test_a_file_is_kept_under_its_digest_and_its_import_recorded(ingest: Ingest) -> None:
    answer = await ingest.send(PES, **{"X-Filename": "mandats%20%C3%A9t%C3%A9.xml"})
    assert answer.status_code == 202
    taken = answer.json()
    assert answer.headers["location"] == f"/v1/flux/{taken['flux_id']}"
    assert taken["sha256"] == hashlib.sha256(PES).hexdigest()
    assert (taken["size"], taken["state"], taken["collectivite"]) == (len(PES), "imported", COMMUNE)
    (event,) = await ingest.history.load(UUID(taken["flux_id"]))
    assert isinstance(event.data, FluxImported)
    assert (event.data.filename, event.actor, event.data.send) == ("mandats été.xml", "amina", "when_ready")
    assert ingest.documents() == [taken["sha256"]]


async def test_a_file_may_be_imported_to_leave_on_request(ingest: Ingest) -> None:
    answer = await ingest.http.post("/v1/flux?send=on_request", content=PES, headers=bearer())
    (event,) = await ingest.history.load(UUID(answer.json()["flux_id"]))
    assert isinstance(event.data, FluxImported)
    assert event.data.send == "on_request"


async def test_an_unknown_choice_of_sending_is_refused(ingest: Ingest) -> None:
    answer = await ingest.http.post("/v1/flux?send=never", content=PES, headers=bearer())
    assert "when_ready" in str(problem_of(answer, 400, "send-invalid")["detail"])


async def test_the_same_file_again_names_the_first_flux_and_adds_nothing(ingest: Ingest) -> None:
    first = (await ingest.send()).json()["flux_id"]
    answer = await ingest.send()
    problem = problem_of(answer, 409, "duplicate")
    assert problem["flux_id"] == first
    assert first in str(problem["detail"])
    assert answer.headers["content-location"] == f"/v1/flux/{first}"
    assert await ingest.facts() == ["flux.imported.v1"]


async def test_the_same_file_sent_at_once_by_two_people_is_one_flux(ingest: Ingest) -> None:
    answers = await asyncio.gather(*(ingest.send() for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409, 409]


async def test_the_file_of_another_collectivite_is_another_flux(ingest: Ingest) -> None:
    await ingest.send()
    answer = await ingest.send(PES, **bearer(OTHER_COMMUNE))
    assert answer.status_code == 202


async def test_a_request_repeated_with_its_key_gets_the_first_answer(ingest: Ingest) -> None:
    answers = [await ingest.send(PES, **{"Idempotency-Key": "k1"}) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["flux_id"] for answer in answers}) == 1
    assert await ingest.facts() == ["flux.imported.v1"]


async def test_an_import_is_answered_again_as_far_as_a_newer_version_lets_it_be_read(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux_id = (await ingest.send(PES, **{"Idempotency-Key": "k1"})).json()["flux_id"]
    cancellation = f"/v1/flux/{flux_id}/cancellation"
    await ingest.http.post(cancellation, json={"reason": "Motif"}, headers=bearer())
    monkeypatch.delitem(BY_KIND, "flux.cancelled.v1")
    assert (await ingest.send(PES, **{"Idempotency-Key": "k1"})).json()["flux_id"] == flux_id
    problem_of(
        await ingest.http.post(cancellation, json={"reason": "Motif"}, headers=bearer()), 409, "flux-set-aside"
    )
    monkeypatch.delitem(BY_KIND, "flux.imported.v1")
    problem_of(await ingest.send(PES, **{"Idempotency-Key": "k1"}), 409, "flux-set-aside")


async def test_a_key_of_a_cancelled_flux_is_refused_for_nothing_would_leave(ingest: Ingest) -> None:
    flux_id = (await ingest.send(PES, **{"Idempotency-Key": "k1"})).json()["flux_id"]
    await ingest.http.post(f"/v1/flux/{flux_id}/cancellation", json={"reason": "Motif"}, headers=bearer())
    again = await ingest.send(PES, **{"Idempotency-Key": "k1"})
    problem_of(again, 409, "idempotency-key-of-cancelled")
    assert again.json()["flux_id"] == flux_id
    assert (await ingest.send(PES, **{"Idempotency-Key": "k2"})).status_code == 202


async def test_a_key_used_for_another_file_is_refused(ingest: Ingest) -> None:
    await ingest.send(PES, **{"Idempotency-Key": "k1"})
    problem_of(await ingest.send(sample(2), **{"Idempotency-Key": "k1"}), 422, "idempotency-key-reused")
    assert await ingest.facts() == ["flux.imported.v1"]


async def test_a_key_is_each_collectivite_s_own(ingest: Ingest) -> None:
    first = await ingest.send(PES, **{"Idempotency-Key": "k1"})
    other = await ingest.send(sample(2), **{"Idempotency-Key": "k1", **bearer(OTHER_COMMUNE)})
    assert other.status_code == 202
    assert first.json()["flux_id"] != other.json()["flux_id"]


async def test_several_files_are_taken_each_on_its_own(ingest: Ingest) -> None:
    await ingest.send(sample(9))
    files = [
        ("files", ("a.xml", sample(1), "application/xml")),
        ("files", ("b.pdf", b"%PDF-1.7", "application/pdf")),
        ("files", ("c.xml", sample(9), "application/xml")),
        ("files", ("d.xml", sample(3), "application/xml")),
    ]
    answer = await ingest.http.post("/v1/flux", files=files, data={"note": "ignored"}, headers=bearer())
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 415, 409, 202]
    assert [result["filename"] for result in results] == ["a.xml", "b.pdf", "c.xml", "d.xml"]
    assert results[2]["flux_id"]
    assert len(await ingest.facts()) == 3


async def test_one_file_in_a_form_is_answered_as_one_file(ingest: Ingest) -> None:
    taken = await ingest.http.post("/v1/flux", files={"file": ("a.xml", PES)}, headers=bearer())
    again = await ingest.http.post("/v1/flux", files={"file": ("a.xml", PES)}, headers=bearer())
    assert taken.status_code == 202
    assert taken.json()["filename"] == "a.xml"
    problem_of(again, 409, "duplicate")


async def test_more_files_than_a_request_may_hold_are_refused_and_the_first_are_taken(ingest: Ingest) -> None:
    files = [("files", (f"{number}.xml", sample(number))) for number in range(1, FILES_MAX + 2)]
    problem_of(await ingest.http.post("/v1/flux", files=files, headers=bearer()), 413, "too-many-files")
    assert len(await ingest.facts()) == FILES_MAX


@pytest.mark.parametrize(
    ("content", "kind", "slug"),
    [
        (b"", "multipart/form-data; boundary=x", "multipart-malformed"),
        (b"--x\r\n", "multipart/form-data; boundary=x", "multipart-malformed"),
        (b"what?", "multipart/form-data; boundary=x", "multipart-malformed"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no-file"),
        (b"--x--\r\n", "multipart/form-data", "multipart-malformed"),
        (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.xml"\r\n\r\n<a/>',
            "multipart/form-data; boundary=x",
            "multipart-malformed",
        ),
        (b"--x\r\n" + b"A" * 10_000, "multipart/form-data; boundary=x", "multipart-malformed"),
        (
            b"--x\r\n" + b"".join(b"H%d: v\r\n" % number for number in range(30)) + b"\r\n",
            "multipart/form-data; boundary=x",
            "multipart-malformed",
        ),
    ],
    ids=["empty", "cut", "not a form", "no file", "no boundary", "cut in a file", "long header", "many headers"],
)
async def test_a_form_that_cannot_be_read_is_refused(ingest: Ingest, content: bytes, kind: str, slug: str) -> None:
    problem_of(await ingest.send(content, **{"Content-Type": kind}), 400, slug)
    assert await ingest.facts() == []
    assert ingest.documents() == []


@pytest.mark.parametrize("content", [b"", b" \r\n\t "], ids=["no byte", "blanks"])
async def test_an_empty_file_is_refused_at_the_door(ingest: Ingest, content: bytes) -> None:
    problem_of(await ingest.send(content), 400, "empty-file")
    assert ingest.documents() == []


@pytest.mark.parametrize("content", [b"%PDF-1.7", b"PK\x03\x04", b"\x00\x00\x00", b"hello", b"\x1f\x8b\x08"])
async def test_what_cannot_be_xml_is_refused_at_the_door(ingest: Ingest, content: bytes) -> None:
    problem_of(await ingest.send(content), 415, "not-xml")
    assert await ingest.facts() == []
    assert ingest.documents() == []


@pytest.mark.parametrize("content", [b"<a/>", b"\xef\xbb\xbf<a/>", "<a/>".encode("utf-16"), b"\n\n<?xml"])
async def test_what_may_be_xml_is_taken_and_judged_later(ingest: Ingest, content: bytes) -> None:
    assert (await ingest.send(content)).status_code == 202


@pytest.mark.parametrize("size", [1, 3, 1000], ids=["byte by byte", "a few bytes", "at once"])
async def test_blanks_in_front_are_kept_as_they_came(ingest: Ingest, size: int) -> None:
    content = b" \r\n\t\n" + PES[:90]
    taken = (await ingest.send(pieces(content, size))).json()
    assert (taken["sha256"], taken["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert ingest.documents() == [taken["sha256"]]


@pytest.mark.parametrize("size", [1, 3, 1000], ids=["byte by byte", "a few bytes", "at once"])
async def test_what_comes_after_blanks_is_looked_at_too(ingest: Ingest, size: int) -> None:
    problem_of(await ingest.send(pieces(b" \r\n\t\n" + b"%PDF-1.7" * 9, size)), 415, "not-xml")
    assert ingest.documents() == []


async def test_blanks_in_front_are_bounded_like_the_rest(ingest: Ingest) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 10 * BYTES_MAX:
            read += 1000
            yield b" " * 1000

    problem_of(await ingest.send(endless()), 413, "too-large")
    assert read <= 2 * BYTES_MAX + 2000  # up to the bound, then what is thrown away so that the refusal is read
    assert ingest.documents() == []


async def test_blanks_in_front_are_not_held_in_memory() -> None:
    came = 0

    async def blanks() -> AsyncIterator[bytes]:
        nonlocal came
        while came < 100:
            came += 1
            yield b" " * 1000
        yield PES

    passed_on = 0
    async for _ in admit(blanks()):
        passed_on += 1
        assert came - passed_on <= 1
    assert passed_on == 101


async def test_a_file_that_says_it_is_too_large_is_refused_before_it_is_read(ingest: Ingest) -> None:
    problem = problem_of(await ingest.send(b"<a/>" + b" " * BYTES_MAX), 413, "too-large")
    assert problem["bytes_max"] == BYTES_MAX


async def test_a_file_that_proves_too_large_leaves_nothing(ingest: Ingest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"<a>"
        for _ in range(300):
            yield b"x" * 1000

    problem_of(await ingest.send(endless()), 413, "too-large")
    assert ingest.documents() == []
    assert await ingest.facts() == []


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"Authorization": ""}, 401, "unauthenticated"),
        ({"Authorization": "Bearer x.y.z"}, 401, "unauthenticated"),
        (bearer(hours=-1), 401, "unauthenticated"),
        (bearer(role=Role.AUDITEUR), 403, "forbidden"),
        (bearer(role=Role.SIGNATAIRE), 403, "forbidden"),
        ({"X-Collectivite": OTHER_COMMUNE}, 403, "forbidden"),
        ({"X-Collectivite": "abc"}, 400, "collectivite-invalid"),
        (bearer(COMMUNE, OTHER_COMMUNE), 400, "collectivite-required"),
        (bearer("*", role=Role.OPERATOR), 400, "collectivite-required"),
        ({"Idempotency-Key": "k" * 201}, 422, "invalid-request"),
    ],
)
async def test_who_may_not_import_is_told_why(
    ingest: Ingest, headers: dict[str, str], status: int, slug: str
) -> None:
    problem_of(await ingest.send(PES, **headers), status, slug)
    assert await ingest.facts() == []
    assert ingest.documents() == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"),
        ("", "flux.xml"),
        ("x" * 400, "x" * 255),
        ("%00%ff", "?\ufffd"),
        ("a%00b%0D%0A%1B%C2%85.xml", "a?b????.xml"),
    ],
)
async def test_any_filename_is_a_label_and_nothing_more(ingest: Ingest, sent: str, kept: str) -> None:
    answer = await ingest.send(PES, **{"X-Filename": sent})
    assert answer.status_code == 202, answer.text
    assert answer.json()["filename"] == kept
    assert ingest.documents() == [hashlib.sha256(PES).hexdigest()]


async def test_the_filename_of_a_file_that_is_refused_is_shown_as_one_that_is_taken(ingest: Ingest) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n'
    body = head % (b"a\x01.pdf", b"%PDF-1.7") + head % (b"b\x01.xml", PES) + b"--x--\r\n"
    answer = await ingest.send(body, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert [result["filename"] for result in answer.json()["results"]] == ["a?.pdf", "b?.xml"]


async def test_a_flux_that_has_not_left_is_cancelled_with_a_reason(ingest: Ingest) -> None:
    flux_id = (await ingest.send()).json()["flux_id"]
    answers = [await cancel(ingest, flux_id) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    events = await ingest.history.load(UUID(flux_id))
    assert [type(event.data) for event in events] == [FluxImported, FluxCancelled]
    assert (await ingest.send()).status_code == 202


async def test_a_flux_held_for_its_channel_is_cancelled_and_gives_back_its_names(
    ingest: Ingest, test_database: TestDatabase
) -> None:
    held = an.held.model_copy(update={"waits_for": "channel"})
    flux_id = UUID((await ingest.send()).json()["flux_id"])
    names = [nomfic_reservation(COMMUNE, an.header), bordereau_reservation(COMMUNE, an.header, an.bordereau)]
    await record(test_database, flux_id, [an.validated_unsigned, an.requested, held])
    assert set(await ingest.history.holders(names)) == set(names)
    assert (await cancel(ingest, str(flux_id))).status_code == 200
    assert await ingest.history.holders(names) == {}
    assert (await ingest.send()).status_code == 202


@pytest.mark.parametrize("since", [[], [an.held], [an.held, an.released]], ids=["in flight", "in doubt", "released"])
async def test_a_flux_of_which_a_byte_may_have_left_is_not_cancelled(
    ingest: Ingest, test_database: TestDatabase, since: list[Fact]
) -> None:
    flux_id = UUID((await ingest.send()).json()["flux_id"])
    await record(test_database, flux_id, [an.validated_unsigned, an.requested, an.attempted, *since])
    problem_of(await cancel(ingest, str(flux_id)), 409, "too-late")
    assert problem_of(await ingest.send(), 409, "duplicate")["flux_id"] == str(flux_id)


async def test_nobody_cancels_the_flux_of_another_or_knows_that_it_exists(ingest: Ingest) -> None:
    flux_id = (await ingest.send()).json()["flux_id"]
    answer = await cancel(ingest, flux_id, **bearer(OTHER_COMMUNE))
    problem_of(answer, 404, "flux-not-found")
    problem_of(await cancel(ingest, flux_id, **bearer(role=Role.AUDITEUR)), 403, "forbidden")
    assert await ingest.facts() == ["flux.imported.v1"]


async def test_a_cancellation_without_a_reason_is_refused(ingest: Ingest) -> None:
    flux_id = (await ingest.send()).json()["flux_id"]
    answer = await ingest.http.post(f"/v1/flux/{flux_id}/cancellation", json={"reason": ""}, headers=bearer())
    assert "reason" in str(problem_of(answer, 422, "invalid-request")["detail"])


async def test_a_path_that_does_not_exist_is_a_problem_too(ingest: Ingest) -> None:
    problem_of(await ingest.http.get("/v2/nothing"), 404, "not-found")
    problem_of(await ingest.http.put("/v1/flux"), 405, "method-not-allowed")


async def test_a_bug_is_a_problem_and_shows_nothing_of_the_inside(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(PostgresHistory, "append", fail)
    answer = await ingest.send()
    problem_of(answer, 500, "internal")
    assert "secret" not in answer.text


async def test_without_the_journal_the_answer_is_503_and_nothing_is_half_done(tmp_path: Path) -> None:
    async with Database("postgresql://nobody@127.0.0.1:1/none", timeout_seconds=1) as database:
        documents = DocumentStore(open_store(f"file://{tmp_path}"))
        app = service_app("ingest", "", checks={"postgresql": database.check})
        importer = Importer(
            history=PostgresHistory(database),
            documents=documents,
            now=lambda: datetime.now(UTC),
            bytes_max=BYTES_MAX,
        )
        app.include_router(routes(importer, caller=caller_dependency(checker()), bounds=Bounds(BYTES_MAX, FILES_MAX)))
        async with client(app) as http:
            answer = await http.post("/v1/flux", content=PES, headers=bearer())
            assert problem_of(answer, 503, "unavailable")["party"] == "postgresql"
            assert int(answer.headers["retry-after"]) > 0
            assert (await http.get("/healthz")).status_code == 200
            ready = await http.get("/readyz")
            assert ready.status_code == 503
            assert json.loads(ready.text)["away"] == ["postgresql"]


async def record(test_database: TestDatabase, flux_id: UUID, facts: Sequence[Fact]) -> None:
    """Record what other services do with a flux."""
    async with Database(test_database.dsn(), timeout_seconds=5) as database:
        history = PostgresHistory(database)
        past = await history.load(flux_id)
        events = [past[-1].follow(fact, actor="x", at=past[-1].occurred_at) for fact in facts]
        await history.append(events, expected_version=len(past))


async def cancel(ingest: Ingest, flux_id: str, **headers: str) -> httpx.Response:
    return await ingest.http.post(
        f"/v1/flux/{flux_id}/cancellation", json={"reason": "Importé par erreur"}, headers={**bearer(), **headers}
    )


# --- What follows from a request ---------------------------------------------------------------------------------


async def correlations(ingest: Ingest) -> list[UUID]:
    """Return the correlation id of every fact there is."""
    rows = await ingest.database.fetch("select body from journal order by position")
    return [UUID(json.loads(row["body"])["correlation_id"]) for row in rows]


async def test_a_flux_goes_on_in_the_trace_of_the_request_that_imported_it(ingest: Ingest) -> None:
    with kept_spans() as spans:
        await ingest.send()
    request, imported = spans.named("POST /v1/flux"), spans.named("record flux.imported.v1")
    assert await correlations(ingest) == [UUID(int=request.context.trace_id)]
    assert imported.parent == request.context


async def test_each_of_several_files_has_a_trace_of_its_own_that_leads_to_their_request(ingest: Ingest) -> None:
    files = [("file", ("1.xml", sample(1))), ("file", ("2.xml", sample(2))), ("file", ("3.xml", sample(3)))]
    with kept_spans() as spans:
        await ingest.http.post("/v1/flux", files=files, headers=bearer())
    request = spans.named("POST /v1/flux")
    first, *others = [span for span in spans.all() if span.name == "record flux.imported.v1"]
    assert first.parent == request.context
    assert [(span.parent, span.links[0].context) for span in others] == [(None, request.context)] * 2
    assert [UUID(int=span.context.trace_id) for span in (first, *others)] == await correlations(ingest)
    assert len(set(await correlations(ingest))) == 3

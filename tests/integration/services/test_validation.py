"""Judging flux for real: PostgreSQL, a document store, worker processes, an antivirus; and the API on top."""

import asyncio
import gzip
import io
import os
import zipfile
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest

from pes.schemas.packs import BUILT_IN, PackFiles, built_in, read_archive
from pes.tasks import JudgeTask, judge_file
from services.validation.adapters.clamd import Clamd
from services.validation.adapters.collectivites import PostgresCollectivites
from services.validation.adapters.packs import PostgresPacks
from services.validation.adapters.policies import PostgresPolicies
from services.validation.adapters.scratch import ScratchFolder
from services.validation.administration import Administration, administration_routes
from services.validation.api import check_routes, flux_routes
from services.validation.collectivites import Identities, collectivite_routes
from services.validation.handler import Judges, on_imported
from services.validation.preflight import Checks
from services.validation.reports import Reports
from shared.errors import CorruptDocumentError, MalformedMessageError, UnavailableError, VersionConflictError
from shared.facts import flux
from shared.facts.collectivite import PolicySet
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import State, fold
from shared.facts.streams import BY_KIND, collectivite_stream, platform_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.runtime.workers import Pool, TooCostlyError, WorkerLostError
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from shared.web.uploads import Bounds
from tests import examples as an
from tests.bad_input import BadFile, bad_files
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.fakes.clamd import MARK, fake_clamd
from tests.identities import open_collectivite
from tests.judging import changed_sample, replacing
from tests.real.platform import sample
from tests.recording import begun

MEBIBYTE = 1024 * 1024
OPERATOR = bearer("*", role=Role.OPERATOR)
SENT = [an.signature_requested, an.signed, an.requested, an.attempted, an.transmitted]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Worker processes, shared by the tests: each costs a second to start."""
    made = Pool(2, seconds_max=60, memory_bytes_max=2048 * MEBIBYTE)
    yield made
    asyncio.run(made.aclose())


@dataclass
class Bench:
    """The service, and what it leaves behind; `history` is open to what any service records."""

    http: httpx.AsyncClient
    history: PostgresHistory
    documents: DocumentStore
    judges: Judges
    scratch: ScratchFolder
    folder: Path

    async def imported(self, content: bytes, collectivite: str = COMMUNE) -> Event:
        """Record an import, and return its event."""
        document = await self.documents.put_bytes(content)
        fact = flux.FluxImported(document=document, filename="flux.xml")
        event = begun(fact, collectivite=collectivite, at=datetime.now(UTC))
        (recorded,) = await self.history.append([event], expected_version=0)
        return recorded

    async def hear(self, event: Event) -> None:
        await on_imported(
            event,
            event.data,
            judges=self.judges,
            documents=self.documents,
            scratch=self.scratch,
            history=self.judges.history,
        )

    async def judged(self, content: bytes, collectivite: str = COMMUNE) -> tuple[UUID, Fact]:
        """Import a file and have it judged; return the flux and the last fact."""
        event = await self.imported(content, collectivite)
        await self.hear(event)
        return event.flux_id, await self.last(event.flux_id)

    async def last(self, flux_id: UUID) -> Fact:
        return (await self.history.load(flux_id))[-1].data

    async def add(self, flux_id: UUID, *facts: Fact) -> None:
        """Record what other services would."""
        past = await self.history.load(flux_id)
        events = [past[-1].follow(fact, actor="x", at=datetime.now(UTC)) for fact in facts]
        await self.history.append(events, expected_version=len(past))

    def scratch_files(self) -> list[Path]:
        return list(self.folder.rglob("heliotrope-validation-*/*"))


@pytest.fixture
async def bench(test_database: TestDatabase, database: Database, tmp_path: Path, pool: Pool) -> AsyncIterator[Bench]:
    async with Database(test_database.dsn("heliotrope_validation"), timeout_seconds=5) as own:
        history = PostgresHistory(own)
        documents = DocumentStore(open_store(f"file://{tmp_path / 'documents'}"))
        scratch = ScratchFolder(tmp_path)
        packs, policies, collectivites = PostgresPacks(own), PostgresPolicies(own), PostgresCollectivites(own)
        now = lambda: datetime.now(UTC)  # noqa: E731
        judges = Judges(history, packs, policies, collectivites, pool, scratch, None, now, 64 * MEBIBYTE)
        await open_collectivite(history)
        reports = Reports(history, documents, scratch, pool, lambda: datetime.now(UTC), MEBIBYTE)
        app = service_app("validation", "", checks={})
        caller = caller_dependency(checker())
        app.include_router(check_routes(Checks(judges, scratch), caller=caller, bounds=Bounds(MEBIBYTE, 3)))
        app.include_router(flux_routes(reports, caller=caller))
        administration = Administration(history, packs, policies, pool, lambda: datetime.now(UTC))
        app.include_router(administration_routes(administration, caller=caller))
        app.include_router(collectivite_routes(Identities(history, collectivites, now), caller=caller))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://validation", headers=bearer()) as http:
            yield Bench(http, PostgresHistory(database), documents, judges, scratch, tmp_path)
        await scratch.aclose()


def renamed(content: bytes, nomfic: str) -> bytes:
    return replacing(r'(?<=<NomFic V=")[^"]*', nomfic)(content.decode("latin-1")).encode("latin-1")


def codes(fact: Fact) -> set[str]:
    assert isinstance(fact, flux.FluxInvalidated)
    return {finding.code for finding in fact.findings if finding.severity == "blocking"}


async def test_a_good_flux_is_validated_with_the_pack_that_applied(bench: Bench) -> None:
    _, fact = await bench.judged(sample(1))
    assert isinstance(fact, flux.FluxValidated)
    assert fact.pack == built_in().pack
    assert (fact.warnings, fact.signature_required, len(fact.bordereaux)) == ((), True, 1)
    assert bench.scratch_files() == []


async def test_a_bad_flux_is_refused_with_findings(bench: Bench) -> None:
    _, fact = await bench.judged(changed_sample(replacing('(?<=<TypPce V=")01', "99")))
    assert codes(fact) == {"schema.enumeration"}


async def test_a_redelivery_changes_nothing(bench: Bench) -> None:
    event = await bench.imported(sample(1))
    await bench.hear(event)
    await bench.hear(event)
    assert len(await bench.history.load(event.flux_id)) == 2


async def test_a_nomfic_serves_once_in_a_codcol(bench: Bench) -> None:
    nomfic = "PES_1"
    first, _ = await bench.judged(renamed(sample(1), nomfic))
    _, fact = await bench.judged(renamed(sample(2), nomfic))
    assert codes(fact) == {"pes.nomfic-used"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert str(first) in fact.findings[0].message


async def test_a_flux_that_a_newer_version_wrote_to_keeps_its_names_and_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await bench.judged(renamed(sample(1), "PES_1"))
    await bench.add(first, an.signature_requested)
    monkeypatch.delitem(BY_KIND, "signature.requested.v1")
    _, fact = await bench.judged(renamed(sample(2), "PES_1"))
    assert codes(fact) == {"pes.nomfic-used"}
    answer = await bench.http.get(f"/v1/flux/{first}/findings")
    assert (answer.status_code, answer.json()["kind"]) == (409, "signature.requested.v1")


async def test_nobody_takes_the_nomfic_of_another_collectivite(bench: Bench) -> None:
    for code in ("pes.siren", "identifier.not-registered", "schema"):
        change = {"severity": "warning", "reason": "essai", "collectivite": OTHER_COMMUNE}
        await bench.http.put(f"/v1/controls/{code}", json=change, headers=OPERATOR)
    _, fact = await bench.judged(renamed(sample(1), "PES_1"), OTHER_COMMUNE)
    assert codes(fact) == {"pes.siren"}
    _, fact = await bench.judged(renamed(sample(2), "PES_1"))
    assert isinstance(fact, flux.FluxValidated)


async def test_a_cancelled_flux_gives_its_nomfic_and_its_bordereaux_back(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, flux.FluxCancelled(reason="erreur"))
    _, fact = await bench.judged(sample(1) + b"\n")
    assert isinstance(fact, flux.FluxValidated)


async def test_a_bordereau_that_was_sent_already_is_refused(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT)
    again, fact = await bench.judged(renamed(sample(1), "PES_2"))
    assert codes(fact) == {"bordereau.already-sent"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert str(first) in fact.findings[0].message
    assert "En attente d'AR" in fact.findings[0].message
    assert fact.findings[0].where.bordereau
    answer = await bench.http.post(f"/v1/flux/{again}/duplicate-acceptance", json={"reason": "La DGFiP le demande"})
    assert (answer.status_code, answer.json()["state"]) == (202, "imported")
    accepted = (await bench.history.load(again))[-1]
    named = flux.DuplicateAccepted(reason="La DGFiP le demande", repeats=(first,))
    assert (accepted.data, accepted.actor) == (named, "amina")
    await bench.hear(accepted)
    fact = await bench.last(again)
    assert isinstance(fact, flux.FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["bordereau.already-sent"]
    assert fact.bordereaux[0].is_repeated


async def accept(bench: Bench, flux_id: UUID) -> Event:
    """Have someone answer for a duplicate, and return the event."""
    answer = await bench.http.post(f"/v1/flux/{flux_id}/duplicate-acceptance", json={"reason": "Renvoi"})
    assert answer.status_code == 202, answer.text
    return (await bench.history.load(flux_id))[-1]


async def test_what_was_accepted_of_one_flux_is_refused_of_another_that_came_between(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT)
    again, _ = await bench.judged(renamed(sample(1), "PES_2"))
    accepted = await accept(bench, again)
    await bench.add(first, an.reply_received, an.rejected)
    third, fact = await bench.judged(renamed(sample(1), "PES_3"))
    assert isinstance(fact, flux.FluxValidated)
    await bench.hear(accepted)
    fact = await bench.last(again)
    assert codes(fact) == {"bordereau.already-sent"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert fact.repeats == (third,)
    assert str(third) in fact.findings[0].message
    await bench.hear(await accept(bench, again))
    assert isinstance(await bench.last(again), flux.FluxValidated)


async def test_an_acceptance_that_does_not_say_of_which_flux_lets_nothing_pass(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    again, _ = await bench.judged(renamed(sample(1), "PES_2"))
    await bench.add(again, an.duplicate_accepted)  # as older versions recorded it
    await bench.hear((await bench.history.load(again))[-1])
    assert codes(await bench.last(again)) == {"bordereau.already-sent"}
    accepted = await accept(bench, again)
    assert accepted.data == flux.DuplicateAccepted(reason="Renvoi", repeats=(first,))
    await bench.hear(accepted)
    assert isinstance(await bench.last(again), flux.FluxValidated)


async def test_a_bordereau_of_a_rejected_flux_may_come_again(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT, an.reply_received, flux.FluxRejected(reply=an.reply, errors=()))
    _, fact = await bench.judged(renamed(sample(1), "PES_2"))
    assert isinstance(fact, flux.FluxValidated)


async def test_the_same_bordereau_at_the_same_instant_passes_once(bench: Bench) -> None:
    events = [await bench.imported(renamed(sample(1), f"PES_{number}")) for number in range(4)]

    async def hear(event: Event) -> None:
        for _ in range(20):
            try:
                await bench.hear(event)
            except VersionConflictError:
                continue  # as the consumer does
            return

    await asyncio.gather(*(hear(event) for event in events))
    states = [fold(one.data for one in await bench.history.load(event.flux_id)).state for event in events]
    assert sorted(str(state) for state in states) == ["draft", "invalid", "invalid", "invalid"]


async def test_two_flux_that_hold_the_same_bordereaux_in_other_orders_do_not_lock_each_other(bench: Bench) -> None:
    bordereaux = tuple(an.bordereau.model_copy(update={"number": str(number)}) for number in range(300))
    events: list[Event] = []
    for order in (bordereaux, bordereaux[::-1]):
        header = an.header.model_copy(update={"nomfic": f"PES_{len(events)}"})
        fact = an.validated.model_copy(update={"bordereaux": order, "header": header})
        imported = await bench.imported(sample(len(events) + 1))
        events.append(imported.follow(fact, actor="x", at=datetime.now(UTC)))
    results = await asyncio.gather(
        *(bench.history.append([event], expected_version=1) for event in events), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["NameTakenError", "list"]


async def test_only_a_duplicate_can_be_accepted(bench: Bench) -> None:
    flux_id, _ = await bench.judged(changed_sample(replacing('(?<=<TypPce V=")01', "99")))
    answer = await bench.http.post(f"/v1/flux/{flux_id}/duplicate-acceptance", json={"reason": "parce que"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:not-a-duplicate")
    answer = await bench.http.post(
        f"/v1/flux/{flux_id}/duplicate-acceptance", json={"reason": "x" * 9}, headers=bearer(role=Role.AUDITEUR)
    )
    assert answer.status_code == 403


async def test_a_pack_of_the_ministry_installs_without_restart_and_applies(bench: Bench) -> None:
    stricter = PackFiles(
        "pes-6.0",
        {path: content.replace(b'"03"', b'"93"') for path, content in built_in().files.items()},
    )
    answer = await bench.http.post("/v1/schemas/pes-6.0?reason=essai", content=stricter.archive(), headers=OPERATOR)
    assert answer.status_code == 201, answer.text
    listed = (await bench.http.get("/v1/schemas")).json()["packs"]
    assert [pack["pack_id"] for pack in listed] == ["pes-6.0", BUILT_IN]
    _, fact = await bench.judged(sample(1))
    assert isinstance(fact, flux.FluxValidated)
    assert fact.pack == built_in().pack  # the new one refuses it, the old one is still in force
    answer = await bench.http.put(
        f"/v1/schemas/{BUILT_IN}", json={"use": "inactive", "reason": "essai"}, headers=OPERATOR
    )
    assert answer.status_code == 200, answer.text
    _, fact = await bench.judged(sample(2))
    assert isinstance(fact, flux.FluxInvalidated)
    assert fact.pack == stricter.pack


async def test_a_pack_on_trial_only_warns(bench: Bench) -> None:
    stricter = PackFiles(
        "pes-6.0", {path: content.replace(b'"03"', b'"93"') for path, content in built_in().files.items()}
    )
    answer = await bench.http.post(
        "/v1/schemas/pes-6.0?use=shadow&reason=essai", content=stricter.archive(), headers=OPERATOR
    )
    assert answer.status_code == 201
    _, fact = await bench.judged(sample(1))
    assert isinstance(fact, flux.FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["schema.shadow.pes-6.0"]


async def test_a_pack_that_is_not_in_force_yet_does_not_apply(bench: Bench) -> None:
    answer = await bench.http.post(
        "/v1/schemas/next?effective_from=2999-01-01&reason=essai", content=built_in().archive(), headers=OPERATOR
    )
    assert answer.status_code == 201
    _, fact = await bench.judged(sample(1))
    assert isinstance(fact, flux.FluxValidated)
    assert fact.pack is not None
    assert fact.pack.pack_id == BUILT_IN


@pytest.mark.parametrize("content", [b"", b"PK", b"<xml/>"], ids=["nothing", "a stump", "not an archive"])
async def test_what_is_no_pack_is_refused_and_nothing_is_installed(bench: Bench, content: bytes) -> None:
    answer = await bench.http.post("/v1/schemas/x?reason=essai", content=content, headers=OPERATOR)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:heliotrope:problem:not-a-pack")
    assert len((await bench.http.get("/v1/schemas")).json()["packs"]) == 1


async def test_a_pack_whose_schema_does_not_compile_is_refused(bench: Bench) -> None:
    broken = PackFiles(
        "x", {path: content.replace(b"c:Num2", b"c:Absent") for path, content in built_in().files.items()}
    )
    answer = await bench.http.post("/v1/schemas/x?reason=essai", content=broken.archive(), headers=OPERATOR)
    assert answer.status_code == 422
    assert "Absent" in answer.json()["detail"]


async def test_a_pack_never_changes_under_its_name(bench: Bench) -> None:
    for _ in range(2):
        answer = await bench.http.post(
            "/v1/schemas/p?use=active&reason=essai", content=built_in().archive(), headers=OPERATOR
        )
        assert answer.status_code == 201
    other = PackFiles("p", {path: content + b"\n" for path, content in built_in().files.items()})
    answer = await bench.http.post("/v1/schemas/p?reason=essai", content=other.archive(), headers=OPERATOR)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:pack-id-taken")


async def test_a_pack_is_handed_out_as_it_was_installed(bench: Bench) -> None:
    await bench.http.post("/v1/schemas/p?reason=essai", content=built_in().archive(), headers=OPERATOR)
    for name in ("p", BUILT_IN):
        handed = await bench.http.get(f"/v1/schemas/{name}")
        assert handed.headers["content-type"] == "application/zip"
        assert read_archive(handed.content, name).digest == built_in().digest
    assert (await bench.http.get("/v1/schemas/absent")).status_code == 404


async def test_only_an_operator_touches_packs(bench: Bench) -> None:
    for method, path in (("POST", "/v1/schemas/x?reason=essai"), ("PUT", f"/v1/schemas/{BUILT_IN}")):
        for who in (bearer(), bearer("*", role=Role.ADMINISTRATEUR), bearer(role=Role.OPERATOR)):
            answer = await bench.http.request(method, path, json={"use": "inactive", "reason": "essai"}, headers=who)
            assert answer.status_code == 403


async def test_the_policy_of_a_collectivite_counts_for_it_alone(bench: Bench) -> None:
    bad = changed_sample(replacing('(?<=<NbrPce V=")2', "3"))
    change = {"collectivite": COMMUNE, "severity": "warning", "reason": "éditeur en cours de correction"}
    administrator = bearer(role=Role.ADMINISTRATEUR)
    answer = await bench.http.put("/v1/controls/bordereau.pieces", json=change, headers=administrator)
    assert answer.status_code == 200, answer.text
    _, fact = await bench.judged(bad)
    assert isinstance(fact, flux.FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["bordereau.pieces"]
    listed = (await bench.http.get(f"/v1/controls?collectivite={COMMUNE}")).json()
    changed = next(one for one in listed["controls"] if one["code"] == "bordereau.pieces")
    assert (changed["severity"], changed["default"]) == ("warning", "blocking")
    assert listed["changes"][0]["reason"] == change["reason"]
    other = await bench.http.get(
        "/v1/controls", params={"collectivite": OTHER_COMMUNE}, headers=bearer(OTHER_COMMUNE)
    )
    assert (
        next(one for one in other.json()["controls"] if one["code"] == "bordereau.pieces")["severity"] == "blocking"
    )
    back = {**change, "severity": "default"}
    await bench.http.put("/v1/controls/bordereau.pieces", json=back, headers=administrator)
    _, fact = await bench.judged(bad + b"\n")
    assert codes(fact) == {"bordereau.pieces"}


@pytest.mark.parametrize(
    ("code", "collectivite", "role", "status"),
    [
        ("reader.doctype", COMMUNE, Role.ADMINISTRATEUR, 409),
        ("nothing", COMMUNE, Role.ADMINISTRATEUR, 404),
        ("bordereau.total", OTHER_COMMUNE, Role.ADMINISTRATEUR, 403),
        ("bordereau.total", "*", Role.ADMINISTRATEUR, 403),
        ("bordereau.total", COMMUNE, Role.GESTIONNAIRE, 403),
        ("bordereau.total", "*", Role.OPERATOR, 403),  # an operator of the commune alone
    ],
)
async def test_a_control_changes_only_as_it_may(
    bench: Bench, code: str, collectivite: str, role: Role, status: int
) -> None:
    change = {"collectivite": collectivite, "severity": "warning", "reason": "pour voir"}
    answer = await bench.http.put(f"/v1/controls/{code}", json=change, headers=bearer(role=role))
    assert answer.status_code == status


async def test_who_administers_one_and_reads_another_changes_nothing_there(bench: Bench) -> None:
    who = bearer(role=Role.ADMINISTRATEUR, also={OTHER_COMMUNE: Role.AUDITEUR})
    assert (await bench.http.get(f"/v1/controls?collectivite={OTHER_COMMUNE}", headers=who)).status_code == 200
    change = {"collectivite": OTHER_COMMUNE, "severity": "warning", "reason": "pour voir"}
    answer = await bench.http.put("/v1/controls/bordereau.total", json=change, headers=who)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:heliotrope:problem:forbidden")
    flux_id, _ = await bench.judged(sample(1), OTHER_COMMUNE)
    path = f"/v1/flux/{flux_id}/duplicate-acceptance"
    assert (await bench.http.post(path, json={"reason": "parce que"}, headers=who)).status_code == 403


async def test_a_reply_that_belongs_to_no_flux_has_no_findings(bench: Bench) -> None:
    first, *_ = await bench.history.append(an.reply_of_no_flux(datetime.now(UTC)), expected_version=0)
    for path in ("findings", "synthese", f"difference?since={first.flux_id}", "attachments/1"):
        answer = await bench.http.get(f"/v1/flux/{first.flux_id}/{path}", headers=OPERATOR)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:heliotrope:problem:flux-not-found")


async def test_a_file_is_checked_without_being_imported(bench: Bench) -> None:
    answer = await bench.http.post(
        "/v1/checks", content=sample(1), headers={"X-Filename": "mandats%20%C3%A9t%C3%A9.xml"}
    )
    assert answer.status_code == 200
    (told,) = answer.json()
    assert (told["file"], told["verdict"], told["findings"]) == ("mandats été.xml", "valid", [])
    assert (told["pack"], told["pack_digest"]) == (BUILT_IN, built_in().digest)
    assert told["header"]["cod_col"] == "123"
    assert bench.scratch_files() == []
    assert [path for path in (bench.folder / "documents").rglob("*") if path.is_file()] == []


async def test_several_files_are_checked_at_once_each_on_its_own(bench: Bench) -> None:
    files = [
        ("file", (name, content))
        for name, content in {"a.xml": sample(1), "b.xml": b"<a/>", "c.xml": b"%PDF"}.items()
    ]
    told = (await bench.http.post("/v1/checks", files=files)).json()
    assert [(one["file"], one["verdict"]) for one in told] == [
        ("a.xml", "valid"),
        ("b.xml", "invalid"),
        ("c.xml", "unreadable"),
    ]


async def test_a_check_knows_what_was_sent_already(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    (told,) = (await bench.http.post("/v1/checks", content=renamed(sample(1), "PES_2"))).json()
    assert told["verdict"] == "invalid"
    assert [finding["code"] for finding in told["findings"]] == ["bordereau.already-sent"]
    assert str(first) in told["findings"][0]["message"]


async def test_what_cannot_be_checked_is_refused(bench: Bench) -> None:
    answer = await bench.http.post("/v1/checks", content=b"<" + b" " * MEBIBYTE)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:heliotrope:problem:too-large")
    several = [("file", (f"{number}.xml", sample(1))) for number in range(4)]
    answer = await bench.http.post("/v1/checks", files=several)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:heliotrope:problem:too-many-files")
    answer = await bench.http.post("/v1/checks", files={"note": (None, "no file")})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:heliotrope:problem:no-file")
    answer = await bench.http.post("/v1/checks?pack=absent", content=sample(1))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:heliotrope:problem:pack-not-found")
    answer = await bench.http.post(
        "/v1/checks", content=sample(1), headers=bearer(OTHER_COMMUNE) | {"X-Collectivite": COMMUNE}
    )
    assert answer.status_code == 403
    assert bench.scratch_files() == []


async def test_the_synthese_of_a_flux_is_read_page_by_page(bench: Bench) -> None:
    content = sample(1, pieces_per_bordereau=250, depense_bordereaux=1, pj_per_piece=0)
    flux_id, _ = await bench.judged(content)
    index = (await bench.http.get(f"/v1/flux/{flux_id}/synthese")).json()
    assert (index["pieces_total"], index["pages_total"]) == (250, 2)
    assert index["domains"][0]["bordereaux"][0]["pieces"] == 250
    last = (await bench.http.get(f"/v1/flux/{flux_id}/synthese?page=2")).json()
    assert len(last["pieces"]) == 50
    assert (await bench.http.get(f"/v1/flux/{flux_id}/synthese?page=3")).status_code == 404
    other = await bench.http.get(f"/v1/flux/{flux_id}/synthese", headers=bearer(OTHER_COMMUNE))
    assert other.status_code == 404


async def test_an_attachment_is_handed_out_as_it_was(bench: Bench) -> None:
    original = b"%PDF-1.7 " + os.urandom(1000)
    packed = b64encode(gzip.compress(original)).decode()
    content = changed_sample(replacing(r'(?<="application/pdf">)[^<]*', packed), pj_per_piece=1)
    flux_id, _ = await bench.judged(content)
    answer = await bench.http.get(f"/v1/flux/{flux_id}/attachments/1")
    assert (answer.status_code, answer.content) == (200, original)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "attachment" in answer.headers["content-disposition"]
    assert (await bench.http.get(f"/v1/flux/{flux_id}/attachments/99")).status_code == 404
    assert bench.scratch_files() == []


async def test_a_bomb_is_not_handed_out(bench: Bench) -> None:
    packed = b64encode(gzip.compress(b"%PDF-1.7 " + bytes(50 * MEBIBYTE))).decode()
    flux_id, _ = await bench.judged(changed_sample(replacing(r'(?<="application/pdf">)[^<]*', packed)))
    answer = await bench.http.get(f"/v1/flux/{flux_id}/attachments/1")
    assert (answer.status_code, answer.json()["title"]) == (422, "Pièce jointe trop volumineuse")


async def test_two_versions_of_a_flux_are_compared(bench: Bench) -> None:
    old, _ = await bench.judged(sample(1))
    amount = replacing(r'(?<=<MtHT V=")[^"]*', "1.00")
    new, _ = await bench.judged(changed_sample(amount, number=1))
    found = (await bench.http.get(f"/v1/flux/{new}/difference?since={old}")).json()
    assert (found["added"], found["removed"], found["unchanged"]) == ([], [], 1)
    assert {change["field"] for change in found["changed"][0]["changes"]} == {"amount"}


async def test_findings_without_number_are_all_in_the_report(bench: Bench) -> None:
    flux_id, fact = await bench.judged(changed_sample(replacing("(?=<Bordereau )", "<Bordereau/>" * 900)))
    assert isinstance(fact, flux.FluxInvalidated)
    assert fact.report is not None
    assert len(fact.findings) == 200
    told = (await bench.http.get(f"/v1/flux/{flux_id}/findings")).json()
    assert len(told["findings"]) > 900


async def test_a_flux_that_nobody_judged_has_no_findings_yet(bench: Bench) -> None:
    event = await bench.imported(sample(1))
    answer = await bench.http.get(f"/v1/flux/{event.flux_id}/findings")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:not-judged")


async def test_the_antivirus_refuses_what_is_infected_and_makes_wait_what_it_cannot_scan(bench: Bench) -> None:
    async with fake_clamd(bench.folder / "clamd.ctl") as clamd:
        bench.judges = replace(bench.judges, antivirus=Clamd(clamd.address, seconds_max=5))
        _, fact = await bench.judged(sample(1).replace(b"</n:PES_Aller>", b"<!-- " + MARK + b" --></n:PES_Aller>"))
        assert codes(fact) == {"antivirus.infected"}
        packed = b64encode(gzip.compress(b"%PDF-1.7 " + MARK)).decode()
        flux_id, fact = await bench.judged(
            changed_sample(replacing(r'(?<="application/pdf">)[^<]*', packed), number=3)
        )
        assert codes(fact) == {"antivirus.infected"}
        refused = await bench.http.get(f"/v1/flux/{flux_id}/attachments/1")
        assert (refused.status_code, refused.json()["title"]) == (422, "Fichier infecté")
        event = await bench.imported(sample(2))
        clamd.mood = "error"
        with pytest.raises(UnavailableError):
            await bench.hear(event)
        clamd.mood = "well"
        await bench.hear(event)
        assert isinstance(await bench.last(event.flux_id), flux.FluxValidated)


def die(_: object) -> None:
    os.kill(os.getpid(), 9)


def sleep_for_ever(_: object) -> None:
    while True:
        pass


def fail(_: object) -> None:
    raise ValueError("a bug")


def eat_memory(_: object) -> bytes:
    return bytes(4096 * MEBIBYTE)


def answer(order: int) -> int:
    return order + 1


@pytest.mark.parametrize("do", [die, sleep_for_ever, fail, eat_memory])
async def test_a_worker_that_is_lost_is_replaced_and_nobody_else_notices(do: object) -> None:
    pool = Pool(2, seconds_max=10, memory_bytes_max=1024 * MEBIBYTE)  # longer than a new worker takes to begin
    try:
        results = await asyncio.gather(
            pool.run(do, None),  # type: ignore[arg-type]  # each of them takes anything
            *(pool.run(answer, number) for number in range(6)),
            return_exceptions=True,
        )
        assert isinstance(results[0], WorkerLostError)
        assert results[1:] == [1, 2, 3, 4, 5, 6]
    finally:
        await pool.aclose()


async def test_workers_that_the_system_killed_while_they_did_nothing_are_no_order_s_fault() -> None:
    pool = Pool(2, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)
    try:
        for worker in pool._workers:
            worker.process.kill()
            worker.process.join()
        assert await asyncio.gather(*(pool.run(answer, number) for number in range(4))) == [1, 2, 3, 4]
    finally:
        await pool.aclose()


async def test_a_worker_has_nothing_of_the_service_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "secret")
    pool = Pool(1, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)
    try:
        assert await pool.run(os.getenv, "DATABASE_URL") is None
    finally:
        await pool.aclose()


@pytest.mark.parametrize("do", [sleep_for_ever, eat_memory])
async def test_a_file_that_costs_too_much_is_refused_at_once_with_a_finding(bench: Bench, do: object) -> None:
    small = Pool(1, seconds_max=10, memory_bytes_max=1024 * MEBIBYTE)

    class Costly:
        tries = 0

        async def run(self, _: object, order: object) -> object:
            self.tries += 1
            return await small.run(do, order)  # type: ignore[arg-type]  # each of them takes anything

    costly = Costly()
    try:
        bench.judges = replace(bench.judges, workers=costly)  # type: ignore[arg-type]  # it answers nothing
        _, fact = await bench.judged(sample(1))
    finally:
        await small.aclose()
    assert codes(fact) == {"reader.too-costly"}
    assert costly.tries == 1


async def test_a_file_for_which_there_is_not_enough_memory_is_not_called_malformed(tmp_path: Path) -> None:
    path = tmp_path / "dense.xml"
    path.write_bytes(changed_sample(replacing("(?=<LigneDePiece>)", "<a/>" * 8_000_000)))
    small = Pool(1, seconds_max=60, memory_bytes_max=512 * MEBIBYTE)
    try:
        with pytest.raises(TooCostlyError):
            await small.run(judge_file, JudgeTask(path, COMMUNE, datetime.now(UTC).date()))
    finally:
        await small.aclose()


async def test_a_collectivite_that_takes_back_its_policy_has_that_of_all(bench: Bench) -> None:
    async def say(collectivite: str, severity: str) -> None:
        change = {"collectivite": collectivite, "severity": severity, "reason": "pour voir"}
        assert (await bench.http.put("/v1/controls/pes.siret", json=change, headers=OPERATOR)).status_code == 200

    for collectivite, severity, expected in (
        ("*", "blocking", "blocking"),
        (COMMUNE, "warning", "warning"),
        (COMMUNE, "default", "blocking"),
        ("*", "default", None),
    ):
        await say(collectivite, severity)
        assert (await bench.judges.policies.of(COMMUNE)).get("pes.siret") == expected


async def test_the_dates_of_a_pack_follow_each_other(bench: Bench) -> None:
    dates = {"reason": "essai", "use": "active", "effective_from": "2026-02-01", "effective_until": "2026-01-01"}
    assert (await bench.http.put(f"/v1/schemas/{BUILT_IN}", json=dates, headers=OPERATOR)).status_code == 422


async def test_what_is_said_of_packs_is_a_fact_with_its_author_and_its_reason(
    bench: Bench, database: Database
) -> None:
    content = built_in().archive()
    for _ in range(2):
        await bench.http.post("/v1/schemas/p?use=shadow&reason=essai", content=content, headers=OPERATOR)
    for change in ({"use": "active", "reason": "essai concluant"}, {"use": "active", "reason": "encore"}):
        await bench.http.put("/v1/schemas/p", json=change, headers=OPERATOR)
    await bench.http.put(
        f"/v1/schemas/{BUILT_IN}", json={"effective_until": "2999-01-01", "reason": "essai"}, headers=OPERATOR
    )
    told = await bench.history.load(platform_stream("packs").id)
    assert {event.actor for event in told} == {"amina"}
    assert [(event.kind, event.data.model_dump()["reason"]) for event in told] == [
        ("pack.installed.v1", "essai"),
        ("pack.changed.v1", "essai concluant"),
        ("pack.installed.v1", "Pack livré avec la plateforme"),
        ("pack.changed.v1", "essai"),
    ]
    shown = await bench.judges.packs.all()
    assert {(pack.pack_id, pack.use, str(pack.effective_until)) for pack in shown} == {
        ("p", "active", "None"),
        (BUILT_IN, "active", "2999-01-01"),
    }
    await database.execute("select rebuild_projection('packs')")
    assert await bench.judges.packs.all() == shown


async def test_a_pack_that_calls_its_use_a_role_is_still_put_on_trial(bench: Bench) -> None:
    await bench.http.post("/v1/schemas/p?role=shadow&reason=essai", content=built_in().archive(), headers=OPERATOR)
    assert [pack.use for pack in await bench.judges.packs.all() if pack.pack_id == "p"] == ["shadow"]
    answer = await bench.http.put("/v1/schemas/p", json={"role": "inactive", "reason": "essai"}, headers=OPERATOR)
    assert answer.json()["use"] == "inactive"


async def test_a_pack_that_would_end_before_it_begins_is_not_installed(bench: Bench) -> None:
    path = "/v1/schemas/p?effective_until=2020-01-01&reason=essai"
    answer = await bench.http.post(path, content=built_in().archive(), headers=OPERATOR)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:heliotrope:problem:dates-invalid")
    assert (await bench.http.put("/v1/schemas/p", json={"reason": "essai"}, headers=OPERATOR)).status_code == 404


async def test_files_that_do_not_have_their_digest_are_not_used(bench: Bench, database: Database) -> None:
    await bench.judges.packs.keep(PackFiles("p", {"a.xsd": b"<a/>"}))
    await database.execute(
        "insert into schema_archive select $1, archive from schema_archive", an.pack_installed.pack.digest
    )
    installed = begun(an.pack_installed, stream=platform_stream("packs"), collectivite="*", at=datetime.now(UTC))
    await bench.history.append([installed], expected_version=0)
    with pytest.raises(CorruptDocumentError):
        await bench.judges.packs.files(an.pack_installed.pack.digest)


async def test_what_is_said_of_a_control_is_a_fact_once(bench: Bench, database: Database) -> None:
    change = {"collectivite": COMMUNE, "severity": "warning", "reason": "pour voir"}
    for collectivite in (COMMUNE, COMMUNE, "*"):
        body = change | {"collectivite": collectivite}
        answer = await bench.http.put("/v1/controls/pes.siret", json=body, headers=OPERATOR)
        assert (answer.json()["changed_by"], answer.json()["reason"]) == ("amina", "pour voir")
    said = PolicySet(code="pes.siret", severity="warning", reason="pour voir")
    ours = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [event.data for event in ours if event.actor == "amina"] == [said]
    assert {event.collectivite for event in ours} == {COMMUNE}
    (of_all,) = await bench.history.load(platform_stream("defaults").id)
    assert (of_all.data, of_all.collectivite) == (said, "*")
    listed = await bench.judges.policies.changes(COMMUNE)
    assert [one.collectivite for one in listed] == ["*", COMMUNE]
    await database.execute("select rebuild_projection('policies')")
    assert await bench.judges.policies.changes(COMMUNE) == listed


async def test_only_facts_change_what_packs_and_controls_are(bench: Bench, test_database: TestDatabase) -> None:
    await bench.judges.packs.keep(built_in())
    async with Database(test_database.dsn("heliotrope_validation")) as service:
        for statement in (
            "insert into control_policy select * from control_policy",
            "insert into schema_pack select * from schema_pack",
            "update schema_pack set use = 'active'",
            "delete from control_policy",
            "update schema_archive set archive = ''",
            "select rebuild_projection('packs')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    async with Database(test_database.dsn()) as owner:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute("delete from schema_archive")


async def test_an_order_that_is_given_up_leaves_no_worker_behind() -> None:
    pool = Pool(1, seconds_max=60, memory_bytes_max=1024 * MEBIBYTE)
    try:
        task = asyncio.create_task(pool.run(sleep_for_ever, None))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pool.run(answer, 1) == 2
    finally:
        await pool.aclose()


async def test_every_bad_file_is_judged_by_a_worker_within_its_bounds(tmp_path: Path) -> None:
    pool = Pool(2, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)

    async def judged(number: int, bad: BadFile) -> str:
        path = tmp_path / f"{number}.xml"
        path.write_bytes(bad.content)
        answered = await pool.run(judge_file, JudgeTask(path, COMMUNE, datetime.now(UTC).date()))
        assert bad.code in {finding.code for finding in answered.judgement.findings}, bad.name
        return answered.judgement.verdict

    try:
        verdicts = await asyncio.gather(*(judged(*one) for one in enumerate(bad_files(1))))
        assert set(verdicts) == {"invalid", "unreadable"}
    finally:
        await pool.aclose()


class Deadly:
    """Workers that die of every file."""

    def __init__(self) -> None:
        self.tries = 0

    async def run(self, *_: object) -> object:
        self.tries += 1
        raise WorkerLostError("killed")


async def test_a_file_that_kills_two_workers_is_parked_and_the_flux_stays_as_it_is(bench: Bench) -> None:
    deadly = Deadly()
    bench.judges = replace(bench.judges, workers=deadly)  # type: ignore[arg-type]  # it answers nothing
    event = await bench.imported(sample(1))
    with pytest.raises(MalformedMessageError):
        await bench.hear(event)
    assert deadly.tries == 2
    assert fold([event.data]).state is State.IMPORTED
    assert len(await bench.history.load(event.flux_id)) == 1
    assert bench.scratch_files() == []


async def test_an_archive_with_a_path_that_leads_out_installs_nothing(bench: Bench) -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("../../etc/x.xsd", "<x/>")
    told = await bench.http.post("/v1/schemas/x?reason=essai", content=into.getvalue(), headers=OPERATOR)
    assert told.status_code == 422
    assert "chemin interdit" in told.json()["detail"]

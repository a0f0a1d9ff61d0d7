"""Schema packs: installed, on trial, in their time; each is a fact, and never changes under its name."""

import io
import zipfile
from datetime import UTC, datetime

import pytest

from pes.schemas.packs import BUILT_IN, PackFiles, built_in, read_archive
from shared.errors import CorruptDocumentError
from shared.facts import flux
from shared.facts.streams import platform_stream
from shared.journal.postgres import Database
from shared.web.auth import Role
from tests import examples as an
from tests.callers import bearer
from tests.integration.services.validation.bench import OPERATOR, Bench
from tests.real.platform import sample
from tests.recording import begun


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


async def test_an_archive_with_a_path_that_leads_out_installs_nothing(bench: Bench) -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("../../etc/x.xsd", "<x/>")
    told = await bench.http.post("/v1/schemas/x?reason=essai", content=into.getvalue(), headers=OPERATOR)
    assert told.status_code == 422
    assert "chemin interdit" in told.json()["detail"]

"""What is found in files, imported or not: findings, synthèse, attachments, differences."""

import gzip
import os
from base64 import b64encode
from datetime import UTC, datetime

from pes.schemas.packs import BUILT_IN, built_in
from shared.facts import flux
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.validation.bench import MEBIBYTE, OPERATOR, Bench, renamed
from tests.judging import changed_sample, replacing
from tests.real.platform import sample


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

"""Requests to the parapheur that are not what they should be."""

from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pes.units import MEBIBYTE
from services.signature.api import FLUX_MAX
from shared.facts import flux as facts
from shared.facts.envelope import new_id
from tests.integration.services.parapheur.bench import AMINA, SIGNED_BY, Bench, completion_of, problem_of
from tests.parapheur import refusal
from tests.pki import ec_key, intermediate, issue, root, rsa_key, signer
from tests.signing import NOW

COMPLETION = {**SIGNED_BY, "signing_time": NOW.isoformat()}
ONE_VALUE = {"element_id": "x", "value": "eA=="}
AN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "la demande"),
        (b"{", "la demande"),
        (b"[]", "la demande"),
        (b"null", "la demande"),
        (b"\xff\xfe", "la demande"),
        (b'{"city": "\\ud800"}', "la demande"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["prepare", "complete"])
async def test_what_is_no_json_object_is_refused(bench: Bench, path: str, body: bytes, named: str) -> None:
    answer = await bench.http.post(f"/v1/signatures/{path}", content=body)
    assert problem_of(answer) == (422, "invalid-request")
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("prepare", SIGNED_BY, "flux"),
        ("prepare", {**SIGNED_BY, "flux": []}, "flux"),
        ("prepare", {**SIGNED_BY, "flux": [AN_ID] * (FLUX_MAX + 1)}, "flux"),
        ("prepare", {**SIGNED_BY, "flux": ["1"]}, "flux.0"),
        ("prepare", {**SIGNED_BY, "flux": AN_ID}, "flux"),
        ("prepare", {**SIGNED_BY, "flux": [AN_ID], "city": ""}, "city"),
        ("prepare", {**SIGNED_BY, "flux": [AN_ID], "postal_code": "3" * 21}, "postal_code"),
        ("prepare", {**SIGNED_BY, "flux": [AN_ID], "role": "x" * 201}, "role"),
        ("prepare", {**SIGNED_BY, "flux": [AN_ID], "certificate": "x" * 20_001}, "certificate"),
        ("prepare", {"flux": [AN_ID]}, "certificate"),
        ("complete", {**COMPLETION}, "items"),
        ("complete", {**COMPLETION, "items": []}, "items"),
        ("complete", {**COMPLETION, "items": [{"flux_id": AN_ID, "values": []}]}, "items.0.values"),
        (
            "complete",
            {**COMPLETION, "items": [{"flux_id": AN_ID, "values": [ONE_VALUE]}] * (FLUX_MAX + 1)},
            "items",
        ),
        ("complete", {**COMPLETION, "items": [{"flux_id": AN_ID, "values": [ONE_VALUE] * 1001}]}, "items.0.values"),
        (
            "complete",
            {**COMPLETION, "items": [{"flux_id": AN_ID, "values": [{"element_id": "x", "value": "e" * 2004}]}]},
            "items.0.values.0.value",
        ),
        (
            "complete",
            {**COMPLETION, "items": [{"flux_id": AN_ID, "values": [ONE_VALUE]}], "signing_time": "2026-03-02T09:30"},
            "signing_time",
        ),
        ("visa", {"flux": []}, "flux"),
        ("visa", {"flux": [AN_ID] * (FLUX_MAX + 1)}, "flux"),
        ("visa", {"flux": [AN_ID], "comment": "x" * 501}, "comment"),
        ("refuse", {"flux": [], "reason": "Motif"}, "flux"),
        ("refuse", {"flux": [AN_ID] * (FLUX_MAX + 1), "reason": "Motif"}, "flux"),
        ("refuse", {"flux": [AN_ID]}, "reason"),
        ("refuse", {"flux": [AN_ID], "reason": "ab"}, "reason"),
        ("refuse", {"flux": [AN_ID], "reason": "x" * 501}, "reason"),
    ],
)
async def test_what_is_missing_empty_or_out_of_bounds_is_named(
    bench: Bench, path: str, body: dict[str, object], named: str
) -> None:
    before = await bench.kinds()
    answer = await bench.http.post(f"/v1/signatures/{path}", json=body)
    assert problem_of(answer) == (422, "invalid-request")
    assert named in answer.json()["detail"]
    assert "Corrigez-le, puis recommencez." in answer.json()["detail"]
    assert await bench.kinds() == before


async def test_as_many_flux_as_the_bound_allows_are_answered_for(bench: Bench) -> None:
    asked_for = [new_id() for _ in range(FLUX_MAX)]
    prepared = await bench.prepare(*asked_for)
    assert [item["flux_id"] for item in prepared["items"]] == [str(one) for one in asked_for]
    assert {refusal(item) for item in prepared["items"]} == {"flux-not-found"}


@pytest.mark.parametrize("path", ["prepare", "complete"])
async def test_a_request_above_the_bound_is_refused_before_it_has_all_come(
    bench: Bench, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.signature.api.BODY_BYTES_MAX", MEBIBYTE)
    come = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal come
        while come < 100:
            come += 1
            yield b" " * (MEBIBYTE // 4)

    answer = await bench.http.post(f"/v1/signatures/{path}", content=endless())
    assert problem_of(answer) == (413, "too-large")
    assert "1 Mio" in answer.json()["detail"]
    assert come <= 10  # the bound in four pieces and one more; then as many thrown away, for the caller to read why


async def test_nothing_is_read_of_a_request_without_a_token(bench: Bench) -> None:
    come = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal come
        come += 1
        yield b"{}"

    answer = await bench.http.post("/v1/signatures/prepare", content=counted(), headers={"Authorization": ""})
    assert (problem_of(answer), come) == ((401, "unauthenticated"), 0)


def no_certificates() -> dict[str, str]:
    pem = signer().certificate.public_bytes(Encoding.PEM)
    der = signer().certificate.public_bytes(Encoding.DER)
    key = signer().key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "empty": "",
        "PEM": pem.decode(),
        "not base64": "@@@@",
        "not ASCII": "é" * 8,
        "base64 of something else": b64encode(b"Heliotrope").decode(),
        "a public key": b64encode(key).decode(),
        "cut": b64encode(der[:-1]).decode(),
        "with more behind": b64encode(der + b"\0").decode(),
    }


@pytest.mark.parametrize("text", no_certificates().values(), ids=no_certificates())
@pytest.mark.parametrize("path", ["prepare", "complete"])
async def test_a_certificate_that_is_none_is_refused_and_the_form_is_told(bench: Bench, path: str, text: str) -> None:
    flux_id = await bench.waiting()
    bodies: dict[str, dict[str, object]] = {
        "prepare": {**SIGNED_BY, "flux": [str(flux_id)], "certificate": text},
        "complete": {**completion_of(await bench.prepare(flux_id)), "certificate": text},
    }
    answer = await bench.http.post(f"/v1/signatures/{path}", json=bodies[path])
    assert problem_of(answer) == (422, "certificate-invalid")
    assert "base64 de son DER" in answer.json()["detail"]
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)


def odd_certificates() -> dict[str, tuple[x509.Certificate, str]]:
    """Return certificates that are readable, do not serve here, and why."""
    return {
        "an authority": (root().certificate, "signature.usage"),
        "elliptic curve": (issue("Courbe", ec_key(), intermediate()).certificate, "unsignable"),
        "by itself": (issue("Moi-même", rsa_key(8)).certificate, "signature.chain"),
    }


@pytest.mark.parametrize(("certificate", "code"), odd_certificates().values(), ids=odd_certificates())
async def test_a_certificate_that_does_not_serve_here_is_refused_for_each_flux(
    bench: Bench, certificate: x509.Certificate, code: str
) -> None:
    flux_id = await bench.waiting()
    given = b64encode(certificate.public_bytes(Encoding.DER)).decode()
    (item,) = (
        await bench.ask("/v1/signatures/prepare", {**SIGNED_BY, "flux": [str(flux_id)], "certificate": given})
    )["items"]
    assert refusal(item) == code


@pytest.mark.parametrize("value", ["@@@@", "eA=", "eA==\n", "e A==", "é" * 4], ids=repr)
async def test_a_value_that_is_not_base64_is_refused_and_nothing_is_recorded(bench: Bench, value: str) -> None:
    flux_id = await bench.waiting()
    body = completion_of(await bench.prepare(flux_id))
    body["items"][0]["values"][0]["value"] = value
    answer = await bench.http.post("/v1/signatures/complete", json=body)
    assert problem_of(answer) == (422, "value-invalid")
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 256, b"x" * 1400], ids=len)
async def test_a_value_that_the_key_did_not_make_is_refused_in_its_place(bench: Bench, value: bytes) -> None:
    first, second = await bench.waiting(1), await bench.waiting(2)
    body = completion_of(await bench.prepare(first, second))
    body["items"][0]["values"][0]["value"] = b64encode(value).decode()
    one, other = (await bench.ask("/v1/signatures/complete", body))["items"]
    assert refusal(one) == "signature.value"
    assert one["problem"]["findings"][0]["severity"] == "blocking"
    assert other["status"] == "signed"
    assert isinstance(await bench.last(first), facts.SignatureRequested)


@pytest.mark.parametrize("stated", [{"city": "a\u0000b"}, {"role": "\u0001"}, {"postal_code": "\ufffe"}], ids=repr)
async def test_what_cannot_be_written_in_xml_is_refused_in_words(bench: Bench, stated: dict[str, object]) -> None:
    flux_id = await bench.waiting()
    (item,) = (await bench.ask("/v1/signatures/prepare", {**SIGNED_BY, **stated, "flux": [str(flux_id)]}))["items"]
    assert refusal(item) == "unsignable"


@pytest.mark.parametrize("path", ["refuse", "restart"])
async def test_a_reason_of_blanks_is_no_reason(bench: Bench, path: str) -> None:
    flux_id = await bench.waiting()
    bodies: dict[str, tuple[str, dict[str, object]]] = {
        "refuse": ("/v1/signatures/refuse", {"flux": [str(flux_id)], "reason": "    "}),
        "restart": (f"/v1/flux/{flux_id}/circuit/restart", {"reason": "    "}),
    }
    where, body = bodies[path]
    answer = await bench.http.post(where, json=body, headers=AMINA)
    assert problem_of(answer) == (422, "invalid-request")
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)

"""What the parapheur shows: documents and certificates."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from shared.facts import flux as facts
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.parapheur.bench import (
    ADMINISTRATOR,
    CAMILLE,
    CARD,
    DAY,
    OPERATOR,
    STRANGER,
    Bench,
    Headers,
    problem_of,
)
from tests.pki import intermediate, issue, rsa_key
from tests.real.platform import sample
from tests.signing import NOW, verify_both


@pytest.mark.parametrize("role", list(Role))
async def test_the_document_is_handed_out_as_it_is_and_never_as_a_page(bench: Bench, role: Role) -> None:
    content = sample(1)
    flux_id = await bench.waiting(1)
    answer = await bench.http.get(f"/v1/flux/{flux_id}/document", headers=bearer(role=role))
    assert (answer.status_code, answer.content) == (200, content)
    told = {name: answer.headers[name] for name in ("content-type", "cache-control", "x-content-type-options")}
    assert told == {
        "content-type": "application/octet-stream",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{flux_id}.xml"
    assert answer.headers["content-length"] == str(len(content))


async def test_the_document_in_force_is_the_signed_one_once_it_is_signed(bench: Bench) -> None:
    flux_id = await bench.waiting(1)
    await bench.complete(await bench.prepare(flux_id))
    answer = await bench.http.get(f"/v1/flux/{flux_id}/document")
    assert len(verify_both(answer.content)) == 1
    fact = await bench.last(flux_id)
    assert isinstance(fact, facts.BordereauxSigned)
    assert answer.content == await bench.documents.read(fact.document.sha256)


@pytest.mark.parametrize("path", ["circuit", "document"])
async def test_what_is_no_flux_id_is_named(bench: Bench, path: str) -> None:
    answer = await bench.http.get(f"/v1/flux/1/{path}")
    assert problem_of(answer) == (422, "invalid-request")
    assert "flux_id" in answer.json()["detail"]


async def certificates(bench: Bench, who: Headers) -> list[dict[str, Any]]:
    answer = await bench.http.get("/v1/certificates", headers=who)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["certificates"])


def mandated(found: Sequence[dict[str, Any]]) -> list[str]:
    return [one["collectivite"] for one in found if one["kind"] == "mandate"]


async def test_the_certificates_of_mandates_are_those_of_the_callers_perimeter(bench: Bench) -> None:
    soon = issue("Bientôt", rsa_key(8), intermediate(), end=NOW + 10 * DAY)
    await bench.mandate("louise", certificate=b64encode(soon.certificate.public_bytes(Encoding.DER)).decode())
    await bench.mandate("ali", OTHER_COMMUNE, certificate=CARD)
    assert mandated(await certificates(bench, bearer(role=Role.AUDITEUR))) == [COMMUNE]
    assert mandated(await certificates(bench, STRANGER)) == [OTHER_COMMUNE]
    assert mandated(await certificates(bench, OPERATOR)) == [COMMUNE, OTHER_COMMUNE]
    assert mandated(await certificates(bench, bearer(COMMUNE, OTHER_COMMUNE))) == [COMMUNE, OTHER_COMMUNE]
    assert mandated(await certificates(bench, bearer("219900025"))) == []
    (first, *rest) = await certificates(bench, CAMILLE)
    assert (first["name"], first["days_left"], first["is_announced"]) == ("Louise Exemple", 9, True)
    assert first["certificate_sha256"] == soon.certificate.fingerprint(hashes.SHA256()).hex()
    assert [one["kind"] for one in rest] == ["seal", "authority", "authority"]
    assert not any(one["is_announced"] for one in rest)


async def test_a_mandate_that_ended_announces_no_certificate(bench: Bench) -> None:
    mandate_id = await bench.mandate("louise", certificate=CARD)
    assert mandated(await certificates(bench, CAMILLE)) == [COMMUNE]
    await bench.ask(f"/v1/mandates/{mandate_id}/end", {"reason": "Démission"}, ADMINISTRATOR)
    assert mandated(await certificates(bench, CAMILLE)) == []

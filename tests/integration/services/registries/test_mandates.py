"""Mandates, through the API: recorded, listed, ended; and the certificates that they name."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.signature.mandates import Mandate, mandate_of
from shared.facts.envelope import new_id
from shared.journal.postgres import Database
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.registries.bench import (
    DAY,
    DELEGATION,
    ELSEWHERE,
    MANDATE,
    NOW,
    OPERATOR,
    SIGNATURE,
    Bench,
    applying,
    certificate,
    key_of,
    pem,
    refusal,
    set_circuit,
)


def base64_der(made: x509.Certificate) -> str:
    return b64encode(made.public_bytes(Encoding.DER)).decode()


# --- Mandates ----------------------------------------------------------------------------------------------------


async def test_a_recorded_mandate_is_listed_with_who_recorded_it_and_when(bench: Bench) -> None:
    recorded = (await bench.http.post("/v1/mandates", json=MANDATE)).json()
    (listed,) = await bench.mandates()
    assert recorded == listed
    assert {name: listed[name] for name in MANDATE} == {**MANDATE, "valid_from": "2026-03-28T08:00:00Z"}
    assert (listed["recorded_by"], listed["recorded_at"]) == ("amina", "2026-04-01T12:00:00Z")
    assert (listed["is_in_force"], listed["ends_at"], listed["ended_at"]) == (True, None, None)


async def test_whoever_may_read_reads_mandates_and_nobody_without_a_token(bench: Bench) -> None:
    await bench.recorded("/v1/mandates", MANDATE)
    for role in (Role.AUDITEUR, Role.SIGNATAIRE, Role.GESTIONNAIRE):
        answer = await bench.http.get("/v1/mandates", headers=bearer(role=role))
        assert (answer.status_code, len(answer.json()["mandates"])) == (200, 1)
    for path in ("/v1/mandates", "/v1/circuits", "/v1/delegations"):
        assert refusal(await bench.http.get(path, headers={"Authorization": ""})) == (401, "unauthenticated")


async def test_the_mandates_of_another_collectivite_are_invisible(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    listed = await bench.http.get("/v1/mandates", headers=ELSEWHERE)
    assert listed.json() == {"collectivite": OTHER_COMMUNE, "mandates": []}
    for path in ("/v1/mandates", "/v1/circuits", "/v1/delegations"):
        answer = await bench.http.get(path, params={"collectivite": COMMUNE}, headers=ELSEWHERE)
        assert refusal(answer) == (403, "forbidden")
    end = {"reason": "démission"}
    hidden = await bench.http.post(f"/v1/mandates/{mandate_id}/end", json=end, headers=ELSEWHERE)
    absent_id = str(new_id())
    absent = await bench.http.post(f"/v1/mandates/{absent_id}/end", json=end, headers=ELSEWHERE)
    assert refusal(hidden) == refusal(absent) == (404, "registry-entry-not-found")
    assert hidden.text.replace(mandate_id, absent_id) == absent.text
    assert (await bench.mandates())[0]["ended_at"] is None


@pytest.mark.parametrize(
    ("asked", "code"),
    [("", "collectivite-required"), ("*", "collectivite-invalid"), ("²" * 9, "collectivite-invalid")],
)
async def test_who_acts_for_several_collectivites_says_which(bench: Bench, asked: str, code: str) -> None:
    for path in ("/v1/mandates", "/v1/delegations"):
        answer = await bench.http.get(path, params={"collectivite": asked}, headers=OPERATOR)
        assert refusal(answer) == (400, code)
    both = bearer(COMMUNE, OTHER_COMMUNE)
    assert refusal(await bench.http.get("/v1/circuits", headers=both)) == (400, "collectivite-required")


@pytest.mark.parametrize("role", [Role.GESTIONNAIRE, Role.SIGNATAIRE, Role.AUDITEUR])
async def test_only_administrators_record_and_end_mandates(bench: Bench, role: Role) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    who = bearer(role=role)
    assert refusal(await bench.http.post("/v1/mandates", json=MANDATE, headers=who)) == (403, "forbidden")
    answer = await bench.http.post(f"/v1/mandates/{mandate_id}/end", json={"reason": "fin"}, headers=who)
    assert refusal(answer) == (403, "forbidden")
    assert [one["ended_at"] for one in await bench.mandates()] == [None]


async def test_an_administrator_records_for_their_collectivites_only(bench: Bench) -> None:
    answer = await bench.http.post("/v1/mandates", json=MANDATE, headers=ELSEWHERE)
    assert refusal(answer) == (403, "forbidden")
    assert await bench.mandates() == []


async def test_who_administers_one_and_reads_another_changes_nothing_there(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    for role in (Role.ADMINISTRATEUR, Role.OPERATOR):
        who = bearer(OTHER_COMMUNE, role=role, also={COMMUNE: Role.AUDITEUR}, subject="sam")
        read = {"collectivite": COMMUNE}
        listed = (await bench.http.get("/v1/mandates", params=read, headers=who)).json()
        assert [one["mandate_id"] for one in listed["mandates"]] == [mandate_id]
        for path, body in (
            ("/v1/mandates", MANDATE),
            (f"/v1/mandates/{mandate_id}/end", {"reason": "fin"}),
            ("/v1/delegations", DELEGATION),
            (f"/v1/delegations/{delegation_id}/end", {"reason": "retour"}),
        ):
            assert refusal(await bench.http.post(path, json=body, headers=who)) == (403, "forbidden")
        refused = await set_circuit(bench, SIGNATURE, collectivite=COMMUNE, headers=who)
        assert refusal(refused) == (403, "forbidden")
    assert await applying(bench, COMMUNE) == []
    assert [one["ended_at"] for one in await bench.mandates()] == [None]


async def test_an_operator_of_one_collectivite_sets_nothing_for_all(bench: Bench) -> None:
    answer = await set_circuit(bench, SIGNATURE, collectivite="*", headers=bearer(role=Role.OPERATOR))
    assert refusal(answer) == (403, "forbidden")


async def test_nobody_records_a_mandate_for_themself_but_an_operator(bench: Bench) -> None:
    own = {**MANDATE, "person": "amina"}
    assert refusal(await bench.http.post("/v1/mandates", json=own)) == (403, "own-mandate")
    assert await bench.mandates() == []
    answer = await bench.http.post("/v1/mandates", json={**own, "reason": "demande écrite"}, headers=OPERATOR)
    assert answer.status_code == 201, answer.text


async def test_an_operator_says_why_and_the_collectivite_reads_it(bench: Bench) -> None:
    answer = await bench.http.post("/v1/mandates", json=MANDATE, headers=OPERATOR)
    assert refusal(answer) == (422, "reason-required")
    reason = "l'administratrice est absente"
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, "reason": reason}, headers=OPERATOR)
    assert (answer.status_code, answer.json()["reason"]) == (201, reason)
    assert [one["reason"] for one in await bench.mandates()] == [reason]


async def test_the_same_request_again_answers_as_the_first_time(bench: Bench) -> None:
    body = {**MANDATE, "mandate_id": str(new_id()), "certificate": pem(certificate())}
    first = await bench.http.post("/v1/mandates", json=body)
    bench.at = NOW + timedelta(minutes=1)
    same_instant = {**body, "valid_from": "2026-03-28T08:00:00Z"}
    for again in (body, same_instant):
        answer = await bench.http.post("/v1/mandates", json=again)
        assert answer.status_code == 201
        told, before = answer.json(), first.json()
        assert (told["mandate_id"], told["recorded_at"]) == (before["mandate_id"], before["recorded_at"])
    assert len(await bench.mandates()) == 1


@pytest.mark.parametrize(
    "change", [{"person": "karim"}, {"act": "Autre acte"}, {"valid_until": "2027-01-01T00:00:00Z"}]
)
async def test_another_content_under_the_same_id_is_refused(bench: Bench, change: dict[str, object]) -> None:
    body = {**MANDATE, "mandate_id": str(new_id())}
    await bench.recorded("/v1/mandates", body)
    assert refusal(await bench.http.post("/v1/mandates", json={**body, **change})) == (409, "id-taken")
    assert [one["person"] for one in await bench.mandates()] == ["camille"]


async def test_an_id_that_another_collectivite_has_taken_tells_nothing_of_it(bench: Bench) -> None:
    body = {**MANDATE, "mandate_id": str(new_id())}
    await bench.recorded("/v1/mandates", body)
    elsewhere = {**body, "collectivite": OTHER_COMMUNE}
    answer = await bench.http.post("/v1/mandates", json=elsewhere, headers=ELSEWHERE)
    assert refusal(answer) == (409, "id-taken")
    assert COMMUNE not in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"collectivite": "12345678"},
        {"collectivite": "12345678९"},
        {"person": ""},
        {"person": "x" * 256},
        {"person": " camille"},
        {"person": "ca\u0000mille"},
        {"name": " "},
        {"name": "x" * 201},
        {"act": "ab"},
        {"act": "x" * 501},
        {"act": "acte\u202e"},
        {"reason": "  a  "},
        {"certificate": "x" * 20_001},
        {"valid_from": "hier"},
        {"mandate_id": "1"},
    ],
    ids=repr,
)
async def test_what_is_out_of_bounds_is_refused_and_nothing_is_recorded(
    bench: Bench, change: dict[str, object]
) -> None:
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, **change})
    assert refusal(answer) == (422, "invalid-request")
    assert next(iter(change)) in answer.json()["detail"]
    assert await bench.mandates() == []


@pytest.mark.parametrize(
    "change",
    [
        {"act": "x" * 500},
        {"act": "abc"},
        {"name": "x"},
        {"person": "x" * 200},
        {"valid_until": "2199-12-31T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_at_its_bound_is_recorded(bench: Bench, change: dict[str, object]) -> None:
    await bench.recorded("/v1/mandates", {**MANDATE, **change})
    (recorded,) = await bench.mandates()
    assert change.items() <= recorded.items()


async def test_a_text_is_kept_on_one_line_with_plain_spaces(bench: Bench) -> None:
    await bench.recorded("/v1/mandates", {**MANDATE, "act": " Délibération\u00a0n°\u202f12 \n du 28 mars "})
    assert [one["act"] for one in await bench.mandates()] == ["Délibération n° 12 du 28 mars"]


@pytest.mark.parametrize(
    "moment", ["2026-03-28T09:00:00", "2026-03-28", "1999-12-31T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.parametrize("name", ["valid_from", "valid_until"])
async def test_an_instant_has_a_zone_and_is_of_our_time(bench: Bench, name: str, moment: str) -> None:
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, name: moment})
    assert refusal(answer) == (422, "moment-invalid")
    assert name in answer.json()["detail"]


@pytest.mark.parametrize("until", ["2026-03-28T09:00:00+01:00", "2026-03-28T08:00:00Z", "2026-03-01T00:00:00Z"])
async def test_a_mandate_ends_after_it_begins(bench: Bench, until: str) -> None:
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, "valid_until": until})
    assert refusal(answer) == (422, "period-invalid")


async def test_a_mandate_is_in_force_from_its_first_instant_until_its_end_excluded(bench: Bench) -> None:
    await bench.recorded("/v1/mandates", {**MANDATE, "valid_until": "2026-04-02T00:00:00Z"})
    begins, ends = datetime(2026, 3, 28, 8, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)
    instant = timedelta(microseconds=1)
    for at, expected in ((begins - instant, False), (begins, True), (ends - instant, True), (ends, False)):
        bench.at = at
        assert [one["is_in_force"] for one in await bench.mandates()] == [expected]


# --- The end of a mandate ----------------------------------------------------------------------------------------


async def test_a_mandate_that_is_ended_gives_no_right_any_more(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    held = await bench.registries.mandates(COMMUNE)
    assert isinstance(mandate_of("camille", held, at=NOW, certificate_sha256=""), Mandate)
    answer = await bench.http.post(f"/v1/mandates/{mandate_id}/end", json={"reason": "démission"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["ended_at"], told["ended_because"], told["is_in_force"]) == (
        "2026-04-01T12:00:00Z",
        "démission",
        False,
    )
    left = await bench.registries.mandates(COMMUNE)
    assert not isinstance(mandate_of("camille", left, at=NOW, certificate_sha256=""), Mandate)
    assert isinstance(mandate_of("camille", left, at=NOW - DAY, certificate_sha256=""), Mandate)


async def test_a_mandate_may_have_ended_yesterday_or_end_tomorrow(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    for at, in_force in ((NOW + DAY, True), (NOW - DAY, False)):
        end = {"reason": "démission", "at": at.isoformat()}
        told = (await bench.http.post(f"/v1/mandates/{mandate_id}/end", json=end)).json()
        assert (datetime.fromisoformat(told["ended_at"]), told["is_in_force"]) == (at, in_force)


async def test_a_mandate_that_is_ended_twice_keeps_its_first_end(bench: Bench, database: Database) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    for reason in ("démission", "encore"):
        told = (await bench.http.post(f"/v1/mandates/{mandate_id}/end", json={"reason": reason})).json()
        assert (told["ended_at"], told["ended_because"]) == ("2026-04-01T12:00:00Z", "démission")
        bench.at += DAY
    (row,) = await database.fetch("select recorded_by, reason from mandate_end")
    assert tuple(row) == ("amina", "démission")


async def test_an_end_that_comes_after_the_foreseen_one_changes_nothing_and_says_so(bench: Bench) -> None:
    mandate_id = await bench.recorded("/v1/mandates", {**MANDATE, "valid_until": "2026-03-30T00:00:00Z"})
    answer = await bench.http.post(f"/v1/mandates/{mandate_id}/end", json={"reason": "fin"})
    assert refusal(answer) == (409, "ends-before")
    assert "30/03/2026 à 02:00 (heure de Paris)" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({}, "invalid-request"),
        ({"reason": "ab"}, "invalid-request"),
        ({"reason": "x" * 501}, "invalid-request"),
        ({"reason": "démission", "at": "2026-03-30T00:00:00"}, "moment-invalid"),
    ],
)
async def test_an_end_has_a_reason_and_its_instant_a_zone(bench: Bench, end: dict[str, str], code: str) -> None:
    mandate_id = await bench.recorded("/v1/mandates", MANDATE)
    assert refusal(await bench.http.post(f"/v1/mandates/{mandate_id}/end", json=end)) == (422, code)


# --- The certificate of a mandate --------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [pem, base64_der, lambda made: f"Bag Attributes\n{pem(made)}"])
async def test_a_certificate_is_named_by_its_digest_and_its_expiry_as_we_compute_them(
    bench: Bench, written: object
) -> None:
    made = certificate()
    assert callable(written)
    told = (await bench.http.post("/v1/mandates", json={**MANDATE, "certificate": written(made)})).json()
    assert told["certificate_sha256"] == made.fingerprint(hashes.SHA256()).hex()
    assert datetime.fromisoformat(told["certificate_until"]) == made.not_valid_after_utc
    ((collectivite, name, sha256, until),) = await bench.registries.certificates(NOW)
    assert (collectivite, name, sha256) == (COMMUNE, MANDATE["name"], told["certificate_sha256"])
    assert until == made.not_valid_after_utc


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda: "pas un certificat", "pas un certificat lisible"),
        (lambda: b64encode(b"pas un certificat").decode(), "pas un certificat lisible"),
        (lambda: "é" * 10, "pas un certificat lisible"),
        (lambda: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "pas un certificat lisible"),
        (lambda: pem(certificate())[:-200], "pas un certificat lisible"),
        (lambda: base64_der(certificate())[:-40], "pas un certificat lisible"),
        (lambda: pem(certificate()) * 2, "2 certificats"),
        (lambda: pem(certificate(1024)), "2048 bits"),
        (lambda: pem(certificate(256)), "2048 bits"),
        (lambda: pem(certificate(until=datetime(2026, 3, 28, 8, tzinfo=UTC))), "expire le 28/03/2026 à 09:00"),
    ],
)
async def test_what_is_no_certificate_to_sign_with_is_refused(bench: Bench, written: object, said: str) -> None:
    assert callable(written)
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, "certificate": written()})
    assert refusal(answer) == (422, "certificate-invalid")
    assert said in answer.json()["detail"]
    assert await bench.mandates() == []


async def test_a_private_key_is_refused_and_kept_nowhere(bench: Bench) -> None:
    key = key_of(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    answer = await bench.http.post("/v1/mandates", json={**MANDATE, "certificate": pem(certificate()) + key})
    assert refusal(answer) == (422, "certificate-invalid")
    assert "clé privée" in answer.json()["detail"]
    assert key.splitlines()[1] not in answer.text
    assert await bench.mandates() == []

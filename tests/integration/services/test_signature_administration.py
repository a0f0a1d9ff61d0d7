"""The registries for real, through their API: PostgreSQL below, tokens above."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import asyncpg
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local.postgres.server import LocalPostgres
from services.history.api import stream_routes
from services.signature.adapters.registries import PostgresRegistries
from services.signature.administration import Administration, administration_routes
from services.signature.mandates import Mandate, mandate_of
from shared.facts import collectivite as facts
from shared.facts.envelope import new_id
from shared.facts.streams import collectivite_stream, platform_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import steps
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.granting import say

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
ADMINISTRATOR = bearer(role=Role.ADMINISTRATEUR)
OPERATOR = bearer("*", role=Role.OPERATOR)
ELSEWHERE = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR)
MANDATE: dict[str, object] = {
    "collectivite": COMMUNE,
    "person": "camille",
    "name": "Camille Exemple, maire",
    "act": "Délibération n° 2026-12 du 28 mars 2026",
    "valid_from": "2026-03-28T09:00:00+01:00",
}
DELEGATION: dict[str, object] = {
    "collectivite": COMMUNE,
    "absent": "camille",
    "substitute": "karim",
    "valid_from": "2026-04-01T00:00:00+02:00",
    "valid_until": "2026-04-15T00:00:00+02:00",
    "reason": "congés",
}
SIGNATURE: dict[str, object] = {"kind": "signature", "any_of": ["camille"]}
VISA: dict[str, object] = {"kind": "visa", "any_of": ["karim", "louise", "karim"], "name": "Visa des finances"}
SEAL: dict[str, object] = {"kind": "seal"}
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


def someone(subject: str, role: Role, *collectivites: str) -> dict[str, str]:
    """Return the header of a request by another than `amina`."""
    return bearer(*collectivites, role=role, subject=subject)


@dataclass
class Bench:
    """The service, and the time it is there."""

    http: httpx.AsyncClient
    history: PostgresHistory
    registries: PostgresRegistries
    at: datetime

    async def recorded(self, path: str, body: dict[str, object]) -> str:
        """Record a mandate or a delegation, and return its id."""
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        members = answer.json()
        return str(members.get("mandate_id") or members["delegation_id"])

    async def mandates(self) -> list[dict[str, object]]:
        answer = await self.http.get("/v1/mandates")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["mandates"])


@pytest.fixture
async def bench(test_database: TestDatabase) -> AsyncIterator[Bench]:
    """The caller administers the commune, unless a request says otherwise; the other commune chose the seal."""
    async with Database(test_database.dsn_of("signature"), timeout_seconds=5) as database:
        history, registries = PostgresHistory(database), PostgresRegistries(database)
        await say(history, an.seal_chosen, collectivite=OTHER_COMMUNE)
        app = service_app("signature", "", checks={})
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://signature", headers=ADMINISTRATOR) as http:
            made = Bench(http, history, registries, NOW)
            administration = Administration(history, registries, lambda: made.at, has_key=True)
            app.include_router(administration_routes(administration, caller=caller_dependency(checker())))
            yield made


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of a refusal and its code, having seen that it has a sentence."""
    document = answer.json()
    assert document["title"]
    assert document["detail"].endswith((".", "…"))
    return answer.status_code, document["type"].removeprefix("urn:heliotrope:problem:")


@cache
def key_of(bits: int) -> Key:
    """Return a key that is made once: RSA of so many bits, or ECDSA for 256."""
    return ec.generate_private_key(ec.SECP256R1()) if bits == 256 else rsa.generate_private_key(65537, bits)


def certificate(bits: int = 2048, *, until: datetime = NOW + 300 * DAY) -> x509.Certificate:
    key = key_of(bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Camille Exemple")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(until - 700 * DAY).not_valid_after(until).sign(key, hashes.SHA256())


def pem(made: x509.Certificate) -> str:
    return made.public_bytes(Encoding.PEM).decode()


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


async def test_an_administrator_elsewhere_delegates_only_their_own_steps_here(bench: Bench) -> None:
    who = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR, also={COMMUNE: Role.SIGNATAIRE}, subject="karima")
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=who)
    assert refusal(answer) == (403, "not-your-delegation")
    own = await bench.http.post("/v1/delegations", json={**DELEGATION, "absent": "karima"}, headers=who)
    assert own.status_code == 201, own.text


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


# --- Circuits ----------------------------------------------------------------------------------------------------


async def set_circuit(
    bench: Bench,
    *steps: dict[str, object],
    kind: str = "*",
    collectivite: str = "",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    params = {"collectivite": collectivite} if collectivite else {}
    body = {"flux_kind": kind, "steps": list(steps), "reason": "règlement intérieur"}
    return await bench.http.put("/v1/circuits", json=body, params=params, headers=headers)


async def applying(bench: Bench, collectivite: str = COMMUNE) -> list[tuple[str, str, list[str]]]:
    """Return the circuits that apply: for whom they were set, for which flux, and their steps."""
    params = {"collectivite": collectivite}
    told = (await bench.http.get("/v1/circuits", params=params, headers=OPERATOR)).json()
    return [
        (one["collectivite"], one["flux_kind"], [step["kind"] for step in one["steps"]]) for one in told["circuits"]
    ]


async def test_a_circuit_is_read_back_as_it_was_set_and_the_last_one_counts(bench: Bench) -> None:
    assert (await set_circuit(bench, SIGNATURE)).status_code == 200
    answer = await set_circuit(bench, VISA, SIGNATURE)
    assert answer.status_code == 200, answer.text
    told = (await bench.http.get("/v1/circuits")).json()
    assert told["circuits"] == [answer.json()]
    assert answer.json()["steps"] == [
        {"kind": "visa", "any_of": ["karim", "louise"], "domain": "", "name": "Visa des finances"},
        {"kind": "signature", "any_of": ["camille"], "domain": "", "name": ""},
    ]
    assert (answer.json()["changed_by"], answer.json()["reason"]) == ("amina", "règlement intérieur")
    assert [len(one["steps"]) for one in told["changes"]] == [2, 1]


async def test_the_circuit_of_a_collectivite_comes_before_that_of_all_and_only_for_itself(bench: Bench) -> None:
    await set_circuit(bench, SIGNATURE, collectivite="*", headers=OPERATOR)
    await set_circuit(bench, VISA, SIGNATURE)
    assert await applying(bench) == [(COMMUNE, "*", ["visa", "signature"])]
    assert await applying(bench, OTHER_COMMUNE) == [("*", "*", ["signature"])]
    assert (await set_circuit(bench)).status_code == 200  # no step: back to what it was
    assert await applying(bench) == [("*", "*", ["signature"])]


async def test_each_kind_of_flux_has_its_circuit(bench: Bench) -> None:
    for kind in ("depense", "recette", "mixte"):
        assert (await set_circuit(bench, SIGNATURE, kind=kind)).status_code == 200
    assert [kind for _, kind, _ in await applying(bench)] == ["depense", "mixte", "recette"]
    assert refusal(await set_circuit(bench, SIGNATURE, kind="autre")) == (422, "invalid-request")


async def test_steps_that_make_no_circuit_are_refused_with_why_and_nothing_changes(bench: Bench) -> None:
    answer = await set_circuit(bench, VISA)
    assert refusal(answer) == (422, "circuit-invalid")
    assert "au moins une étape de signature" in answer.json()["detail"]
    assert refusal(await set_circuit(bench, SIGNATURE, SIGNATURE)) == (422, "circuit-invalid")
    assert (await bench.http.get("/v1/circuits")).json()["changes"] == []


async def test_only_a_collectivite_that_chose_the_seal_has_it_in_its_circuit(bench: Bench) -> None:
    answer = await set_circuit(bench, SEAL)
    assert refusal(answer) == (422, "circuit-invalid")
    assert "n'a pas choisi le cachet" in answer.json()["detail"]
    for_all = await set_circuit(bench, SEAL, collectivite="*", headers=OPERATOR)
    assert refusal(for_all) == (422, "circuit-invalid")
    assert (await set_circuit(bench, VISA, SEAL, headers=ELSEWHERE)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "collectivite"),
    [
        (bearer(role=Role.GESTIONNAIRE), COMMUNE),
        (bearer(role=Role.SIGNATAIRE), COMMUNE),
        (bearer(role=Role.AUDITEUR), COMMUNE),
        (ADMINISTRATOR, OTHER_COMMUNE),
        (ADMINISTRATOR, "*"),
        (bearer(role=Role.GESTIONNAIRE), "*"),
    ],
)
async def test_a_circuit_is_set_by_an_administrator_of_the_collectivite_and_for_all_by_an_operator(
    bench: Bench, headers: dict[str, str], collectivite: str
) -> None:
    answer = await set_circuit(bench, SIGNATURE, collectivite=collectivite, headers=headers)
    assert refusal(answer) == (403, "forbidden")
    assert await applying(bench, COMMUNE) == await applying(bench, OTHER_COMMUNE) == []


async def test_everyone_reads_the_circuits_of_all(bench: Bench) -> None:
    await set_circuit(bench, SIGNATURE, collectivite="*", headers=OPERATOR)
    told = (await bench.http.get("/v1/circuits?collectivite=*", headers=bearer(role=Role.AUDITEUR))).json()
    assert [one["collectivite"] for one in told["circuits"]] == ["*"]


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([VISA] * 19 + [SIGNATURE], 200),
        ([VISA] * 20 + [SIGNATURE], 422),
        ([{**SIGNATURE, "any_of": [f"p{number}" for number in range(50)]}], 200),
        ([{**SIGNATURE, "any_of": [f"p{number}" for number in range(51)]}], 422),
        ([{**SIGNATURE, "any_of": [""]}], 422),
        ([{**SIGNATURE, "any_of": ["x" * 256]}], 422),
        ([{**SIGNATURE, "any_of": ["a\u0000"]}], 422),
        ([{**SIGNATURE, "name": "x" * 200}], 200),
        ([{**SIGNATURE, "name": "x" * 201}], 422),
        ([{**SIGNATURE, "domain": "autre"}], 422),
        ([{"kind": "paraphe"}], 422),
    ],
)
async def test_steps_are_bounded(bench: Bench, steps: list[dict[str, object]], status: int) -> None:
    assert (await set_circuit(bench, *steps)).status_code == status


async def test_a_circuit_changes_for_a_reason(bench: Bench) -> None:
    for reason in ("", "ab", "x" * 501):
        body = {"flux_kind": "*", "steps": [SIGNATURE], "reason": reason}
        assert refusal(await bench.http.put("/v1/circuits", json=body)) == (422, "invalid-request")


# --- Delegations -------------------------------------------------------------------------------------------------


async def test_a_recorded_delegation_is_listed_and_in_force_in_its_time(bench: Bench) -> None:
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    for days, in_force in ((0, True), (13, True), (14, False), (-2, False)):
        bench.at = NOW + days * DAY
        (listed,) = (await bench.http.get("/v1/delegations")).json()["delegations"]
        assert (listed["delegation_id"], listed["is_in_force"]) == (delegation_id, in_force)
    assert (listed["absent"], listed["substitute"], listed["recorded_by"]) == ("camille", "karim", "amina")
    other = (await bench.http.get("/v1/delegations", headers=ELSEWHERE)).json()
    assert other["delegations"] == []


@pytest.mark.parametrize("role", [Role.SIGNATAIRE, Role.GESTIONNAIRE])
async def test_the_absent_person_delegates_their_own_steps_and_takes_them_back(bench: Bench, role: Role) -> None:
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=someone("camille", role))
    assert (answer.status_code, answer.json()["recorded_by"]) == (201, "camille")
    end = {"reason": "retour"}
    path = f"/v1/delegations/{answer.json()['delegation_id']}/end"
    refused = await bench.http.post(path, json=end, headers=someone("karim", role))
    assert refusal(refused) == (403, "not-your-delegation")
    ended = await bench.http.post(path, json=end, headers=someone("camille", role))
    assert (ended.status_code, ended.json()["is_in_force"]) == (200, False)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (someone("karim", Role.SIGNATAIRE), "not-your-delegation"),
        (someone("karim", Role.GESTIONNAIRE), "not-your-delegation"),
        (someone("camille", Role.AUDITEUR), "forbidden"),
        (someone("camille", Role.SIGNATAIRE, OTHER_COMMUNE), "forbidden"),
        (ELSEWHERE, "forbidden"),
    ],
)
async def test_nobody_delegates_the_steps_of_another_but_an_administrator(
    bench: Bench, who: dict[str, str], code: str
) -> None:
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=who)
    assert refusal(answer) == (403, code)
    assert (await bench.http.get("/v1/delegations")).json()["delegations"] == []


async def test_nobody_gives_themselves_the_steps_of_another(bench: Bench) -> None:
    answer = await bench.http.post(
        "/v1/delegations", json=DELEGATION | {"absent": "directrice", "substitute": "amina"}
    )
    assert refusal(answer) == (403, "own-delegation")
    assert (await bench.http.get("/v1/delegations")).json()["delegations"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"substitute": "camille"}, "delegation-to-oneself"),
        ({"valid_until": "2026-04-01T00:00:00+02:00"}, "period-invalid"),
        ({"valid_until": "2026-04-15T00:00:00"}, "moment-invalid"),
        ({"valid_from": "2026-04-01"}, "moment-invalid"),
        ({"valid_until": None}, "invalid-request"),
        ({"reason": "x"}, "invalid-request"),
        ({"substitute": "x" * 256}, "invalid-request"),
    ],
)
async def test_a_delegation_that_cannot_be_is_refused(bench: Bench, change: dict[str, object], code: str) -> None:
    assert refusal(await bench.http.post("/v1/delegations", json={**DELEGATION, **change})) == (422, code)


async def test_the_same_delegation_again_answers_as_the_first_time_and_another_is_refused(bench: Bench) -> None:
    body = {**DELEGATION, "delegation_id": str(new_id())}
    first = await bench.http.post("/v1/delegations", json=body)
    bench.at = NOW + timedelta(minutes=1)
    again = await bench.http.post("/v1/delegations", json=body)
    assert (again.status_code, again.json()["recorded_at"]) == (201, first.json()["recorded_at"])
    other = await bench.http.post("/v1/delegations", json={**body, "substitute": "louise"})
    assert refusal(other) == (409, "id-taken")
    assert len((await bench.http.get("/v1/delegations")).json()["delegations"]) == 1


async def test_the_end_of_a_delegation_is_like_that_of_a_mandate(bench: Bench) -> None:
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    path = f"/v1/delegations/{delegation_id}/end"
    late = {"reason": "retour", "at": "2026-04-15T00:00:00+02:00"}
    assert refusal(await bench.http.post(path, json=late)) == (409, "ends-before")
    for _ in range(2):
        told = (await bench.http.post(path, json={"reason": "retour"})).json()
        assert (told["ended_at"], told["ends_at"]) == ("2026-04-01T12:00:00Z", "2026-04-01T12:00:00Z")
        bench.at += DAY
    hidden = await bench.http.post(path, json={"reason": "retour"}, headers=ELSEWHERE)
    absent_id = str(new_id())
    absent = await bench.http.post(f"/v1/delegations/{absent_id}/end", json={"reason": "retour"})
    assert refusal(hidden) == refusal(absent) == (404, "registry-entry-not-found")
    assert hidden.text.replace(delegation_id, absent_id) == absent.text


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


async def test_whoever_reads_in_the_collectivite_is_shown_its_stream(bench: Bench) -> None:
    await fill(bench)
    app = service_app("history", "", checks={})
    app.include_router(stream_routes(caller=caller_dependency(checker()), history=bench.history))
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


# --- The seal ----------------------------------------------------------------------------------------------------


async def choose_seal(
    bench: Bench, *, has_seal: bool, collectivite: str = COMMUNE, headers: dict[str, str] | None = None
) -> httpx.Response:
    body = {"has_seal": has_seal, "reason": "délibération du 2 mars"}
    return await bench.http.put("/v1/seal", json=body, params={"collectivite": collectivite}, headers=headers)


async def sealed(bench: Bench, collectivite: str = COMMUNE) -> bool:
    answer = await bench.http.get("/v1/seal", params={"collectivite": collectivite}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["has_seal"])


async def test_a_collectivite_chooses_the_seal_and_leaves_it_for_a_reason(bench: Bench) -> None:
    assert not await sealed(bench)
    answer = await choose_seal(bench, has_seal=True)
    assert (answer.status_code, answer.json()["choice"]["changed_by"]) == (200, "amina")
    assert (await set_circuit(bench, SEAL)).status_code == 200
    assert (await choose_seal(bench, has_seal=False)).json()["has_seal"] is False
    events = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [type(one.data) for one in events] == [
        facts.CollectiviteOpened,
        facts.SealChosen,
        facts.CircuitSet,
        facts.SealLeft,
    ]
    without = await bench.http.put("/v1/seal", json={"has_seal": True, "reason": ""})
    assert refusal(without) == (422, "invalid-request")


async def test_choosing_the_seal_twice_is_one_fact(bench: Bench) -> None:
    for _ in range(2):
        assert (await choose_seal(bench, has_seal=True)).json()["has_seal"] is True
    assert len(await bench.history.load(collectivite_stream(COMMUNE).id)) == 2


async def test_what_an_operator_chooses_for_all_is_for_those_who_said_nothing(bench: Bench) -> None:
    await choose_seal(bench, has_seal=False, collectivite=OTHER_COMMUNE, headers=ELSEWHERE)
    assert (await choose_seal(bench, has_seal=True, collectivite="*", headers=OPERATOR)).status_code == 200
    assert [await sealed(bench, one) for one in (COMMUNE, OTHER_COMMUNE, "*")] == [True, False, True]


@pytest.mark.parametrize(
    ("headers", "collectivite"),
    [
        (bearer(role=Role.GESTIONNAIRE), COMMUNE),
        (bearer(role=Role.SIGNATAIRE), COMMUNE),
        (ADMINISTRATOR, OTHER_COMMUNE),
        (ADMINISTRATOR, "*"),
        (bearer(role=Role.OPERATOR), "*"),
    ],
)
async def test_the_seal_is_chosen_by_an_administrator_and_for_all_by_an_operator(
    bench: Bench, headers: dict[str, str], collectivite: str
) -> None:
    answer = await choose_seal(bench, has_seal=True, collectivite=collectivite, headers=headers)
    assert refusal(answer) == (403, "forbidden")
    assert not await sealed(bench)


async def test_a_host_without_a_seal_has_none_to_choose_and_one_to_leave(bench: Bench) -> None:
    app = service_app("signature", "", checks={})
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=False)
    app.include_router(administration_routes(administration, caller=caller_dependency(checker())))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://signature", headers=ADMINISTRATOR) as http:
        other = Bench(http, bench.history, bench.registries, NOW)
        assert refusal(await choose_seal(other, has_seal=True)) == (409, "no-seal")
        assert (await choose_seal(other, has_seal=False)).status_code == 200


async def test_the_setting_is_recorded_once_for_those_that_never_said_anything_of_the_seal(bench: Bench) -> None:
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=True)
    await choose_seal(bench, has_seal=False)
    third = "211111111"
    for _ in range(2):
        await asyncio.gather(*(administration.adopt_seal(frozenset({COMMUNE, third, "*"})) for _ in range(3)))
    assert [await sealed(bench, one) for one in (COMMUNE, third, "*")] == [False, True, True]
    opened, chosen = await bench.history.load(collectivite_stream(third).id)
    assert (chosen.actor, type(opened.data), type(chosen.data)) == (
        "signature",
        facts.CollectiviteOpened,
        facts.SealChosen,
    )
    assert "SEAL_COLLECTIVITES" in chosen.data.model_dump()["reason"]
    await choose_seal(bench, has_seal=False, collectivite="*", headers=OPERATOR)
    await administration.adopt_seal(frozenset({"*"}))
    assert not await sealed(bench, "*")


@pytest.mark.parametrize(
    "newer", [("circuit.set.v1", "circuit.set.v9"), ('"signature"', '"ratification"')], ids=["kind", "value"]
)
async def test_a_stream_that_a_newer_version_has_written_in_stops_no_start(
    newer: tuple[str, str], bench: Bench, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await set_circuit(bench, SIGNATURE)
    await database.execute("alter table journal disable trigger user")
    await database.execute("update journal set body = replace(body, $1, $2) where kind = 'circuit.set.v1'", *newer)
    await database.execute("alter table journal enable trigger user")
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=True)
    with caplog.at_level(logging.WARNING):
        await administration.adopt_seal(frozenset({COMMUNE, "211111111"}))
    assert ("seal.not_adopted", COMMUNE) in [(one.message, vars(one).get("collectivite")) for one in caplog.records]
    assert [await sealed(bench, one) for one in (COMMUNE, "211111111")] == [False, True]


# --- What follows can be made again ------------------------------------------------------------------------------

PROJECTIONS = {
    "mandates": ("mandate", "mandate_end"),
    "circuits": ("circuit",),
    "delegations": ("delegation", "delegation_end"),
    "seals": ("seal_choice",),
}


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

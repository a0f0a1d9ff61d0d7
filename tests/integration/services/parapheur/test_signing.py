"""Signing and approving over HTTP: PostgreSQL and a document store below, tokens above, keys on the other side."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pes.units import MEBIBYTE
from services.signature.adapters.registries import PostgresRegistries
from services.signature.administration import Administration
from services.signature.api import FLUX_MAX, administration_routes, signature_routes
from services.signature.examination import Examiner
from services.signature.expiry import Expiry
from services.signature.handler import Signing, on_step_taken, on_validated
from services.signature.parapheur import Parapheur
from shared.errors import UnavailableError
from shared.facts import flux as facts
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.lifecycles.flux import Flux, State, fold
from shared.facts.streams import BY_KIND
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store, path_of
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from signing.trust import TrustList
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.parapheur import DEPUTY, DIRECTOR, MAYOR, STATED, FixedTrust, passed, refusal, sealed_by, value_of
from tests.pki import Holder, ec_key, intermediate, issue, root, rsa_key, signer
from tests.real.platform import sample
from tests.signing import NOW, verify_both

Headers = dict[str, str]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CAMILLE = bearer(role=Role.SIGNATAIRE, subject=MAYOR)
DOMINIQUE = bearer(role=Role.SIGNATAIRE, subject=DEPUTY)
AMINA = bearer(role=Role.GESTIONNAIRE, subject=DIRECTOR)
ADMINISTRATOR = bearer(role=Role.ADMINISTRATEUR, subject="karim")
OPERATOR = bearer("*", role=Role.OPERATOR, subject="operator")
STRANGER = bearer(OTHER_COMMUNE, role=Role.SIGNATAIRE, subject=MAYOR)
CARD = b64encode(signer().certificate.public_bytes(Encoding.DER)).decode()
SIGNED_BY: dict[str, object] = {
    "certificate": CARD,
    "role": STATED.role,
    "city": STATED.city,
    "postal_code": STATED.postal_code,
}
VISA_THEN_SIGNATURE: list[dict[str, object]] = [
    {"kind": "visa", "any_of": [DIRECTOR]},
    {"kind": "signature", "any_of": [MAYOR]},
]
# What a request for each route of people looks like; `{}` stands for a flux.
EVERY_REQUEST: list[tuple[str, str, dict[str, object] | None]] = [
    ("GET", "/v1/signatures/pending", None),
    ("POST", "/v1/signatures/prepare", {**SIGNED_BY, "flux": ["{}"]}),
    (
        "POST",
        "/v1/signatures/complete",
        {
            **SIGNED_BY,
            "signing_time": NOW.isoformat(),
            "items": [{"flux_id": "{}", "values": [{"element_id": "x", "value": "eA=="}]}],
        },
    ),
    ("POST", "/v1/signatures/visa", {"flux": ["{}"]}),
    ("POST", "/v1/signatures/refuse", {"flux": ["{}"], "reason": "Motif"}),
    ("GET", "/v1/flux/{}/circuit", None),
    ("GET", "/v1/flux/{}/document", None),
    ("POST", "/v1/flux/{}/circuit/restart", {"reason": "Motif"}),
    ("GET", "/v1/certificates", None),
]


class MeetingDocuments(DocumentStore):
    """A real document store, where those who put something may be made to wait for each other."""

    meeting: asyncio.Barrier | None = None

    async def put_bytes(self, content: bytes) -> Document:
        """See `DocumentStore.put_bytes`."""
        if self.meeting is not None:
            async with asyncio.timeout(30):
                await self.meeting.wait()
        return await super().put_bytes(content)


class FailingTrust(FixedTrust):
    """A trust list that may be made unreadable."""

    is_down = False

    def current(self) -> TrustList:
        """See `services.signature.ports.Trust.current`."""
        if self.is_down:
            raise UnavailableError("trust list", "its folder is away")
        return super().current()


@dataclass
class Bench:
    """The service, the time it is there, and the people around it. The caller is the mayor, unless told otherwise.

    `history` is open to what any service records.
    """

    http: httpx.AsyncClient
    database: Database
    history: PostgresHistory
    documents: MeetingDocuments
    signing: Signing
    trust: FailingTrust
    folder: Path
    now: datetime = NOW

    # --- What other services do ------------------------------------------------------------------------------

    async def validated(self, content: bytes, collectivite: str = COMMUNE) -> Event:
        """Import and validate a document; return what the service hears of."""
        events = passed(content, await self.documents.put_bytes(content), collectivite=collectivite, at=self.now)
        return (await self.history.append(events, expected_version=0))[-1]

    async def hear(self, flux_id: UUID) -> None:
        """Let the service hear of the last fact of a flux, as the bus would."""
        event = (await self.history.load(flux_id))[-1]
        begins = isinstance(event.data, facts.FluxValidated | facts.SignatureRestarted)
        await (on_validated if begins else on_step_taken)(event, event.data, signing=self.signing)

    async def waiting(self, number: int = 1, collectivite: str = COMMUNE) -> UUID:
        """Return a flux that waits at the first step of its circuit."""
        flux_id = (await self.validated(sample(number), collectivite)).flux_id
        await self.hear(flux_id)
        return flux_id

    # --- What people do ----------------------------------------------------------------------------------------

    async def ask(self, path: str, body: object, who: Headers = CAMILLE) -> dict[str, Any]:
        """Post a request that must be granted."""
        answer = await self.http.post(path, json=body, headers=who)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def prepare(self, *flux_ids: UUID, who: Headers = CAMILLE, holder: Holder | None = None) -> dict[str, Any]:
        body = {**stated_by(holder), "flux": [str(one) for one in flux_ids]}
        return await self.ask("/v1/signatures/prepare", body, who)

    async def complete(
        self, prepared: dict[str, Any], *, who: Headers = CAMILLE, holder: Holder | None = None
    ) -> list[dict[str, Any]]:
        """Sign what was prepared and bring it back; return what became of each flux."""
        done = await self.ask("/v1/signatures/complete", completion_of(prepared, holder), who)
        return list(done["items"])

    async def mandate(self, person: str, collectivite: str = COMMUNE, **more: object) -> str:
        """Have a mandate recorded, and return its id."""
        body = {
            "collectivite": collectivite,
            "person": person,
            "name": f"{person.title()} Exemple",
            "act": "Délibération n° 2026-12",
            "valid_from": (NOW - DAY).isoformat(),
            "reason": "à la demande de la collectivité",
            **more,
        }
        return str((await self.ask("/v1/mandates", body, OPERATOR))["mandate_id"])

    async def circuit(self, *steps: dict[str, object]) -> None:
        """Have the circuit of the commune set."""
        body = {"flux_kind": "*", "steps": steps, "reason": "choix du conseil"}
        answer = await self.http.put("/v1/circuits", json=body, headers=ADMINISTRATOR)
        assert answer.status_code == 200, answer.text

    # --- What is left behind -----------------------------------------------------------------------------------

    async def flux(self, flux_id: UUID) -> Flux:
        return fold(event.data for event in await self.history.load(flux_id))

    async def last(self, flux_id: UUID) -> Fact:
        return (await self.history.load(flux_id))[-1].data

    async def kinds(self) -> list[str]:
        """Return the kinds of all the facts of the journal."""
        return [row["kind"] for row in await self.database.fetch("select kind from journal order by position")]


@pytest.fixture
async def bench(test_database: TestDatabase, database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    """The mayor and the deputy have a mandate; nobody set a circuit."""
    async with (
        Database(test_database.dsn("heliotrope_signature"), timeout_seconds=5) as own,
        opened(own, database, tmp_path) as made,
    ):
        await made.mandate(MAYOR)
        await made.mandate(DEPUTY)
        yield made


@asynccontextmanager
async def opened(own: Database, database: Database, folder: Path) -> AsyncIterator[Bench]:
    history, registries = PostgresHistory(own), PostgresRegistries(own)
    documents = MeetingDocuments(open_store(f"file://{folder / 'documents'}"))
    trust, seal = FailingTrust(), sealed_by(issue("Cachet d'essai", rsa_key(3), intermediate()))

    def now() -> datetime:
        return made.now

    examiner = Examiner(trust, now)
    app = service_app("signature", "", checks={})
    caller = caller_dependency(checker())
    parapheur = Parapheur(history, documents, registries, examiner, now)
    app.include_router(signature_routes(parapheur, Expiry(registries, trust, seal, now), caller=caller))
    administration = Administration(history, registries, now, has_key=True)
    app.include_router(administration_routes(administration, caller=caller))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://signature", headers=CAMILLE) as http:
        signing = Signing(history, documents, registries, examiner, None, now)
        made = Bench(http, database, PostgresHistory(database), documents, signing, trust, folder)
        yield made


def stated_by(holder: Holder | None = None) -> dict[str, object]:
    """Return what someone states who signs with this certificate."""
    der = (holder or signer()).certificate.public_bytes(Encoding.DER)
    return {**SIGNED_BY, "certificate": b64encode(der).decode()}


def completion_of(prepared: dict[str, Any], holder: Holder | None = None) -> dict[str, Any]:
    """Return the request that brings back what a card makes of what was prepared."""
    card = holder or signer()
    items = [
        {
            "flux_id": item["flux_id"],
            "values": [
                {
                    "element_id": one["element_id"],
                    "value": b64encode(value_of(card, b64decode(one["to_sign"]))).decode(),
                }
                for one in item["elements"]
            ],
        }
        for item in prepared["items"]
        if item["status"] == "prepared"
    ]
    return {**stated_by(holder), "signing_time": prepared["signing_time"], "items": items}


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of a refusal and its code, having seen that it is a problem document with French words."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"].endswith(".")
    assert len(document["detail"]) > 30
    return answer.status_code, document["type"].removeprefix("urn:heliotrope:problem:")


def about(flux_id: UUID, body: dict[str, object] | None) -> Any:
    """Return the body of a request with a flux in it."""

    def filled(value: Any) -> Any:
        match value:
            case "{}":
                return str(flux_id)
            case list():
                return [filled(one) for one in value]
            case dict():
                return {name: filled(one) for name, one in value.items()}
            case _:
                return value

    return filled(body)


async def asked(bench: Bench, request: int, flux_id: UUID, who: Headers) -> httpx.Response:
    """Make one of `EVERY_REQUEST`, about a flux."""
    method, path, body = EVERY_REQUEST[request]
    return await bench.http.request(method, path.format(flux_id), json=about(flux_id, body), headers=who)


# --- Signing ---------------------------------------------------------------------------------------------------


async def test_a_flux_is_prepared_signed_brought_back_and_ready(bench: Bench) -> None:
    flux_id = await bench.waiting()
    (pending,) = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert (pending["flux_id"], pending["kind"], pending["filename"]) == (str(flux_id), "signature", "flux.xml")
    prepared = await bench.prepare(flux_id)
    assert prepared["signing_time"] == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    (done,) = await bench.complete(prepared)
    assert (done["status"], done["state"]) == ("signed", "to_sign")
    await bench.hear(flux_id)

    assert (await bench.flux(flux_id)).state is State.READY
    signed = await bench.last(flux_id)
    assert isinstance(signed, facts.FluxSigned)
    assert [one.mandate.person for one in signed.signatures if one.mandate] == [MAYOR]
    assert len(verify_both(await bench.documents.read(signed.document.sha256))) == 1
    assert [event.actor for event in await bench.history.load(flux_id)][-2:] == [MAYOR, "signature"]
    assert (await bench.http.get("/v1/signatures/pending")).json() == {"flux": [], "more": False}


async def test_many_flux_are_signed_at_once_and_each_is_answered_for(bench: Bench) -> None:
    waiting = [await bench.waiting(number) for number in range(1, 4)]
    paper = (await bench.validated(sample(9, is_dematerialised=False))).flux_id
    unknown = new_id()
    prepared = await bench.prepare(*waiting, paper, unknown, waiting[0])
    told = {UUID(item["flux_id"]): item for item in prepared["items"]}
    assert list(told) == [*waiting, paper, unknown]
    assert (refusal(told[paper]), refusal(told[unknown])) == ("not-waiting", "flux-not-found")
    assert [item["status"] for item in await bench.complete(prepared)] == ["signed"] * 3
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 3


async def test_two_signatories_of_one_flux_at_the_same_instant_sign_it_once(bench: Bench) -> None:
    flux_id = await bench.waiting()
    deputy = issue("Adjointe d'essai", rsa_key(7), intermediate())
    first = await bench.prepare(flux_id)
    second = await bench.prepare(flux_id, who=DOMINIQUE, holder=deputy)
    bench.documents.meeting = asyncio.Barrier(2)  # both have loaded, decided and verified before either records
    answers = await asyncio.gather(bench.complete(first), bench.complete(second, who=DOMINIQUE, holder=deputy))
    assert sorted(item["status"] for (item,) in answers) == ["refused", "signed"]
    (lost,) = [item for (item,) in answers if item["status"] == "refused"]
    assert refusal(lost) == "not-yours"
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 1
    fact = await bench.last(flux_id)
    assert isinstance(fact, facts.BordereauxSigned)
    assert len(verify_both(await bench.documents.read(fact.document.sha256))) == 1


async def test_a_completion_that_comes_twice_at_the_same_instant_is_recorded_once(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.documents.meeting = asyncio.Barrier(2)
    answers = await asyncio.gather(bench.complete(prepared), bench.complete(prepared))
    assert [item["status"] for (item,) in answers] == ["signed", "signed"]
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 1


async def test_a_mandate_that_ends_between_the_two_requests_is_refused_at_the_second(bench: Bench) -> None:
    flux_id = await bench.waiting()
    mandates = (await bench.http.get("/v1/mandates")).json()["mandates"]
    (mandate_id,) = [one["mandate_id"] for one in mandates if one["person"] == MAYOR]
    prepared = await bench.prepare(flux_id)
    await bench.ask(f"/v1/mandates/{mandate_id}/end", {"reason": "Démission"}, ADMINISTRATOR)
    bench.now += timedelta(seconds=1)
    (item,) = await bench.complete(prepared)
    assert refusal(item) == "mandate.ended"
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)
    (again,) = (await bench.prepare(flux_id))["items"]
    assert refusal(again) == "mandate.ended"


async def test_what_was_prepared_too_long_ago_is_refused_as_a_whole(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.now += timedelta(minutes=16)
    answer = await bench.http.post("/v1/signatures/complete", json=completion_of(prepared))
    assert problem_of(answer) == (409, "prepared-too-long-ago")
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)


async def test_while_the_trust_list_cannot_be_read_nothing_is_signed_and_it_may_be_tried_again(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.trust.is_down = True
    (item,) = await bench.complete(prepared)
    assert (refusal(item), item["problem"]["status"], item["problem"]["party"]) == ("unavailable", 503, "trust list")
    (item,) = (await bench.prepare(flux_id))["items"]
    assert refusal(item) == "unavailable"
    answer = await bench.http.get("/v1/certificates")
    assert (problem_of(answer), "retry-after" in answer.headers) == ((503, "unavailable"), True)
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)
    bench.trust.is_down = False
    (item,) = await bench.complete(prepared)
    assert item["status"] == "signed"


async def test_a_document_that_is_lost_does_not_stop_the_signature_of_the_others(bench: Bench) -> None:
    lost, kept = await bench.waiting(1), await bench.waiting(2)
    prepared = await bench.prepare(lost, kept)
    document = (await bench.flux(lost)).document
    assert document is not None
    (bench.folder / "documents" / path_of(document.sha256)).unlink()
    answers = [(await bench.prepare(lost, kept))["items"], await bench.complete(prepared)]
    assert [item["status"] for items in answers for item in items] == ["refused", "prepared", "refused", "signed"]


# --- Requests that are not what they should be -------------------------------------------------------------------

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


# --- Roles and collectivités -------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_number", range(len(EVERY_REQUEST)), ids=[path for _, path, _ in EVERY_REQUEST])
@pytest.mark.parametrize(
    "who", [{"Authorization": ""}, {"Authorization": "Bearer x"}, bearer(hours=-1)], ids=["none", "no token", "old"]
)
async def test_nobody_does_anything_without_a_token(bench: Bench, request_number: int, who: Headers) -> None:
    answer = await asked(bench, request_number, await bench.waiting(), who)
    assert problem_of(answer) == (401, "unauthenticated")
    assert "Bearer" in answer.headers["www-authenticate"]


_SIGNING = {"/v1/signatures/prepare", "/v1/signatures/complete"}
_APPROVING = {"/v1/signatures/pending", "/v1/signatures/visa", "/v1/signatures/refuse"}
_RESTARTING = {"/v1/flux/{}/circuit/restart"}


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        (Role.SIGNATAIRE, _RESTARTING),
        (Role.GESTIONNAIRE, _SIGNING),
        (Role.ADMINISTRATEUR, _SIGNING),
        (Role.AUDITEUR, _SIGNING | _APPROVING | _RESTARTING),
        (Role.OPERATOR, _SIGNING | _APPROVING),
    ],
)
async def test_each_role_does_what_it_is_for(bench: Bench, role: Role, forbidden: set[str]) -> None:
    refused = set()
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        answer = await asked(bench, number, await bench.waiting(number + 1), bearer(role=role))
        if answer.status_code == 403:
            assert problem_of(answer) == (403, "forbidden")
            refused.add(path)
        else:
            assert answer.status_code in (200, 202, 409), answer.text
    assert refused == forbidden


async def test_a_flux_of_another_collectivite_is_not_found_whatever_is_asked(bench: Bench) -> None:
    flux_id, absent = await bench.waiting(), new_id()
    before = await bench.kinds()
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        who = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR) if path in _RESTARTING else STRANGER
        hidden, none = [await asked(bench, number, one, who) for one in (flux_id, absent)]
        if path.startswith("/v1/flux/"):
            assert problem_of(hidden) == (404, "flux-not-found")
        elif "items" in hidden.json():
            assert [refusal(item) for item in hidden.json()["items"]] == ["flux-not-found"]
        # Nothing tells a flux that is hidden from one that does not exist.
        assert hidden.text.replace(str(flux_id), str(absent)) == none.text
    assert (await bench.http.get("/v1/signatures/pending", headers=STRANGER)).json() == {"flux": [], "more": False}
    assert await bench.kinds() == before


async def test_a_batch_across_collectivites_does_what_is_the_callers(bench: Bench) -> None:
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    prepared = await bench.prepare(mine, theirs)
    own, other = prepared["items"]
    assert (own["status"], refusal(other)) == ("prepared", "flux-not-found")
    body = completion_of(prepared)
    body["items"].append({**body["items"][0], "flux_id": str(theirs)})
    own, other = (await bench.ask("/v1/signatures/complete", body))["items"]
    assert (own["status"], refusal(other)) == ("signed", "flux-not-found")
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)


# Signs for the commune, and looks on in the other one.
HERE_ONLY = bearer(role=Role.SIGNATAIRE, also={OTHER_COMMUNE: Role.AUDITEUR}, subject=MAYOR)


async def test_who_signs_for_one_and_reads_another_signs_nothing_there(bench: Bench) -> None:
    await bench.mandate(MAYOR, OTHER_COMMUNE)  # even with a mandate: the token is what says who may
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    assert (await bench.http.get(f"/v1/flux/{theirs}/document", headers=HERE_ONLY)).status_code == 200
    told = (await bench.http.get(f"/v1/flux/{theirs}/circuit", headers=HERE_ONLY)).json()
    assert told["is_mine"] is False
    pending = (await bench.http.get("/v1/signatures/pending", headers=HERE_ONLY)).json()["flux"]
    assert [one["flux_id"] for one in pending] == [str(mine)]

    # What somebody else of the other commune prepared does not get in either.
    prepared = await bench.prepare(mine, theirs, who=HERE_ONLY)
    own, other = prepared["items"]
    assert (own["status"], refusal(other)) == ("prepared", "forbidden")
    theirs_prepared = await bench.prepare(theirs, who=STRANGER)
    body = completion_of(prepared)
    body["items"] += completion_of(theirs_prepared)["items"]
    own, other = (await bench.ask("/v1/signatures/complete", body, HERE_ONLY))["items"]
    assert (own["status"], refusal(other)) == ("signed", "forbidden")
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)
    assert [one["status"] for one in await bench.complete(theirs_prepared, who=STRANGER)] == ["signed"]


@pytest.mark.parametrize(("path", "more"), [("visa", {}), ("refuse", {"reason": "Mandat 12 faux"})])
async def test_who_approves_for_one_and_reads_another_decides_nothing_there(
    bench: Bench, path: str, more: dict[str, object]
) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    visa = {"flux_kind": "*", "steps": VISA_THEN_SIGNATURE, "reason": "choix du conseil"}
    where = f"/v1/circuits?collectivite={OTHER_COMMUNE}"
    assert (await bench.http.put(where, json=visa, headers=OPERATOR)).status_code == 200
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    who = bearer(role=Role.GESTIONNAIRE, also={OTHER_COMMUNE: Role.AUDITEUR}, subject=DIRECTOR)
    body = {"flux": [str(mine), str(theirs)], **more}
    own, other = (await bench.ask(f"/v1/signatures/{path}", body, who))["items"]
    assert own["status"] in ("visa", "declined")
    assert refusal(other) == "forbidden"
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)
    answer = await bench.http.post(f"/v1/flux/{theirs}/circuit/restart", json={"reason": "Motif"}, headers=who)
    assert problem_of(answer) == (403, "forbidden")


async def test_a_signatory_of_both_signs_in_both(bench: Bench) -> None:
    await bench.mandate(MAYOR, OTHER_COMMUNE)
    waiting = [await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)]
    both = bearer(COMMUNE, OTHER_COMMUNE, role=Role.SIGNATAIRE, subject=MAYOR)
    done = await bench.complete(await bench.prepare(*waiting, who=both), who=both)
    assert [item["status"] for item in done] == ["signed", "signed"]


async def test_a_reply_that_belongs_to_no_flux_has_nothing_to_sign(bench: Bench) -> None:
    first, *_ = await bench.history.append(an.reply_of_no_flux(NOW), expected_version=0)
    everywhere = bearer("*", role=Role.SIGNATAIRE, subject=MAYOR)
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        who = OPERATOR if path in _RESTARTING else everywhere
        answer = await asked(bench, number, first.flux_id, who)
        if path.startswith("/v1/flux/"):
            assert problem_of(answer) == (404, "flux-not-found")
        elif "items" in answer.json():
            assert [refusal(item) for item in answer.json()["items"]] == ["flux-not-found"]


# --- Circuits ----------------------------------------------------------------------------------------------------


async def test_a_circuit_applies_to_the_next_flux_only(bench: Bench) -> None:
    before = await bench.waiting(1)
    await bench.circuit(*VISA_THEN_SIGNATURE)
    after = await bench.waiting(2)
    shown = [(await bench.http.get(f"/v1/flux/{one}/circuit")).json() for one in (before, after)]
    assert [[step["kind"] for step in one["steps"]] for one in shown] == [["signature"], ["visa", "signature"]]
    assert [one["is_mine"] for one in shown] == [True, False]
    assert [item["status"] for item in (await bench.prepare(before, after))["items"]] == ["prepared", "refused"]
    await bench.circuit({"kind": "signature", "any_of": [DEPUTY]})
    shown = [(await bench.http.get(f"/v1/flux/{one}/circuit")).json() for one in (before, after)]
    assert [len(one["steps"]) for one in shown] == [1, 2]


async def test_a_batch_of_visas_is_answered_for_flux_by_flux(bench: Bench) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    first, second = await bench.waiting(1), await bench.waiting(2)
    hidden, absent = await bench.waiting(3, OTHER_COMMUNE), new_id()
    flux = [str(one) for one in (first, second, first, hidden, absent)]
    given = (await bench.ask("/v1/signatures/visa", {"flux": flux, "comment": "Vu"}, AMINA))["items"]
    assert [item["flux_id"] for item in given] == [str(one) for one in (first, second, hidden, absent)]
    assert [(item["status"], item["step"]) for item in given[:2]] == [("visa", 1)] * 2
    assert [refusal(item) for item in given[2:]] == ["flux-not-found"] * 2
    assert await bench.last(second) == facts.VisaGiven(step=1, comment="Vu")
    again = (await bench.ask("/v1/signatures/visa", {"flux": flux[:1]}, AMINA))["items"]
    assert [refusal(item) for item in again] == ["not-yours"]
    assert (await bench.kinds()).count("visa.given.v1") == 2
    waiting = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert [(one["flux_id"], one["step"]) for one in waiting] == [(str(first), 2), (str(second), 2)]


async def test_a_batch_of_refusals_gives_each_flux_back_with_the_reason(bench: Bench) -> None:
    first, second = await bench.waiting(1), await bench.waiting(2)
    body = {"flux": [str(first), str(second)], "reason": "  Le mandat 12 est faux "}
    given = (await bench.ask("/v1/signatures/refuse", body, CAMILLE))["items"]
    assert [(item["status"], item["on_screen"]) for item in given] == [("declined", "Signature refusée")] * 2
    assert "problem" not in given[0]
    assert await bench.last(second) == facts.SignatureRefused(step=1, reason="Le mandat 12 est faux")
    shown = (await bench.http.get(f"/v1/flux/{first}/circuit", headers=AMINA)).json()
    (taken,) = shown["steps"][0]["taken"]
    assert (taken["by"], taken["reason"]) == (MAYOR, "Le mandat 12 est faux")


async def test_a_refused_flux_begins_again_through_the_circuit_of_the_moment(bench: Bench) -> None:
    flux_id = await bench.waiting()
    await bench.ask("/v1/signatures/refuse", {"flux": [str(flux_id)], "reason": "Il manque un visa"})
    await bench.circuit(*VISA_THEN_SIGNATURE)
    for reason in (" Visa ajouté ", "Encore"):  # asked twice, it is done once
        answer = await bench.http.post(f"/v1/flux/{flux_id}/circuit/restart", json={"reason": reason}, headers=AMINA)
        assert (answer.status_code, answer.json()["status"]) == (202, "restarted")
        assert await bench.last(flux_id) == facts.SignatureRestarted(reason="Visa ajouté")
    await bench.hear(flux_id)
    assert [step.kind for step in (await bench.flux(flux_id)).circuit] == ["visa", "signature"]


async def test_a_flux_that_a_newer_version_wrote_to_stops_no_other_of_the_same_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_to, other = await bench.waiting(1), await bench.waiting(2)
    await bench.ask("/v1/signatures/refuse", {"flux": [str(written_to)], "reason": "Motif"})
    await bench.ask(f"/v1/flux/{written_to}/circuit/restart", {"reason": "Motif"}, AMINA)
    await bench.hear(written_to)
    prepared_before = await bench.prepare(written_to, other)
    monkeypatch.delitem(BY_KIND, kind_of(facts.SignatureRestarted))
    pending = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert [one["flux_id"] for one in pending] == [str(other)]
    visas = (await bench.ask("/v1/signatures/visa", {"flux": [str(written_to), str(other)]}, AMINA))["items"]
    assert [refusal(item) for item in visas] == ["flux-set-aside", "not-yours"]
    prepared = (await bench.prepare(written_to, other))["items"]
    assert (refusal(prepared[0]), prepared[1]["status"]) == ("flux-set-aside", "prepared")
    completed = await bench.complete(prepared_before)
    assert (refusal(completed[0]), completed[1]["status"]) == ("flux-set-aside", "signed")
    assert problem_of(await bench.http.get(f"/v1/flux/{written_to}/circuit")) == (409, "flux-set-aside")
    hidden = await bench.http.get(f"/v1/flux/{written_to}/circuit", headers=STRANGER)
    assert problem_of(hidden) == (404, "flux-not-found")


async def test_there_is_nothing_to_begin_again_in_a_flux_that_is_signed(bench: Bench) -> None:
    flux_id = await bench.waiting()
    await bench.complete(await bench.prepare(flux_id))
    await bench.hear(flux_id)
    answer = await bench.http.post(f"/v1/flux/{flux_id}/circuit/restart", json={"reason": "Encore"}, headers=AMINA)
    assert problem_of(answer) == (409, "nothing-to-restart")
    assert answer.json()["state"] == "ready"


async def test_a_delegation_given_through_the_api_lets_someone_take_the_step_of_the_absent(bench: Bench) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    flux_id = await bench.waiting()
    body = {
        "collectivite": COMMUNE,
        "absent": DIRECTOR,
        "substitute": "karim",
        "valid_from": NOW.isoformat(),
        "valid_until": (NOW + DAY).isoformat(),
        "reason": "congés",
    }
    await bench.ask("/v1/delegations", body, AMINA)
    (given,) = (await bench.ask("/v1/signatures/visa", {"flux": [str(flux_id)]}, ADMINISTRATOR))["items"]
    assert given["status"] == "visa"
    assert await bench.last(flux_id) == facts.VisaGiven(step=1, on_behalf_of=DIRECTOR)
    shown = (await bench.http.get(f"/v1/flux/{flux_id}/circuit")).json()
    (taken,) = shown["steps"][0]["taken"]
    assert (taken["by"], taken["on_behalf_of"], shown["is_mine"]) == ("karim", DIRECTOR, True)


# --- Looking -----------------------------------------------------------------------------------------------------


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
    assert answer.headers["content-disposition"] == 'attachment; filename="flux.xml"'
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

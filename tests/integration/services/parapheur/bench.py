"""The parapheur for real: what its tests share."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.serialization import Encoding

from services.signature.adapters.registries import PostgresRegistries
from services.signature.administration import Administration
from services.signature.api import administration_routes, signature_routes
from services.signature.examination import Examiner
from services.signature.expiry import Expiry
from services.signature.handler import Signing, on_step_taken, on_validated
from services.signature.parapheur import Parapheur
from shared.errors import UnavailableError
from shared.facts import flux as facts
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import Flux, fold
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from signing.trust import TrustList
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.parapheur import DIRECTOR, MAYOR, STATED, FixedTrust, passed, sealed_by, value_of
from tests.pki import Holder, intermediate, issue, rsa_key, signer
from tests.real.platform import sample
from tests.signing import NOW

Headers = dict[str, str]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CAMILLE = bearer(role=Role.SIGNATAIRE, subject=MAYOR)
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

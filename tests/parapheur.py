"""The signature service without a database: what it hears, what people ask of it, and what it leaves behind."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from services.signature.adapters.seal import KeySeal
from services.signature.examination import Examiner
from services.signature.handler import Signing, on_step_taken, on_validated
from services.signature.mandates import Mandate
from services.signature.parapheur import Item, Parapheur, Signer
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxImported, FluxValidated
from shared.facts.lifecycles.flux import Flux, fold
from shared.facts.values import Document
from shared.web.auth import Caller, Role
from signing.trust import TrustList
from signing.xades import Stated
from tests.fakes.memory_documents import MemoryDocuments
from tests.fakes.memory_history import MemoryHistory
from tests.fakes.memory_registries import MemoryRegistries
from tests.granting import grant
from tests.judging import judged
from tests.pki import Holder, crl, intermediate, root, signer
from tests.real.platform import COLLECTIVITE
from tests.recording import begun
from tests.signing import NOW

STATED = Stated(role="Maire", city="Brumeval-les-Étangs", postal_code="34998")
MAYOR, DEPUTY, DIRECTOR = "camille", "dominique", "amina"


def caller(
    subject: str, role: Role = Role.SIGNATAIRE, *collectivites: str, also: Mapping[str, Role] | None = None
) -> Caller:
    """Return someone who calls, with a role in the commune unless told otherwise, and with others elsewhere."""
    held = dict.fromkeys(collectivites or (COLLECTIVITE,), role) | dict(also or {})
    return Caller(subject, {collectivite: frozenset({one}) for collectivite, one in held.items()})


@dataclass
class HeldKey:
    """A key at hand, as `signing.xades.Key`."""

    holder: Holder

    @property
    def certificate(self) -> x509.Certificate:
        return self.holder.certificate

    def sign(self, to_sign: bytes) -> bytes:
        return value_of(self.holder, to_sign)


def value_of(holder: Holder, to_sign: bytes) -> bytes:
    """Return what a card makes of bytes to sign."""
    assert isinstance(holder.key, rsa.RSAPrivateKey)
    return holder.key.sign(to_sign, padding.PKCS1v15(), hashes.SHA256())


class FixedTrust:
    """A trust list that a test may change."""

    def __init__(self) -> None:
        lasting = NOW + timedelta(days=3650)
        crls = (crl(root(), until=lasting), crl(intermediate(), until=lasting))
        self.list = TrustList((root().certificate, intermediate().certificate), crls)

    def current(self) -> TrustList:
        return self.list


def passed(content: bytes, document: Document, *, collectivite: str, at: datetime) -> list[Event]:
    """Return the events of a document that was imported and validated."""
    reading = judged(content, collectivite=collectivite)
    assert reading.header is not None
    first = begun(FluxImported(document=document, filename="flux.xml"), collectivite=collectivite, at=at)
    fact = FluxValidated(
        header=reading.header,
        bordereaux=reading.bordereaux,
        attachments=reading.attachments,
        signature_required=reading.signature_required,
    )
    return [first, first.follow(fact, actor="validation", at=at)]


@dataclass
class Bench:
    """The service, and the people around it. The mayor has a mandate; nobody chose the seal unless told otherwise."""

    history: MemoryHistory = field(default_factory=MemoryHistory)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    registries: MemoryRegistries = field(default_factory=MemoryRegistries)
    trust: FixedTrust = field(default_factory=FixedTrust)
    seal: KeySeal | None = None
    now: datetime = NOW

    @property
    def examiner(self) -> Examiner:
        return Examiner(self.trust, lambda: self.now)

    @property
    def signing(self) -> Signing:
        return Signing(self.history, self.documents, self.registries, self.examiner, self.seal, lambda: self.now)

    @property
    def parapheur(self) -> Parapheur:
        return Parapheur(self.history, self.documents, self.registries, self.examiner, lambda: self.now)

    async def validated(self, content: bytes) -> Event:
        """Import and validate a document; return what the service hears of."""
        document = await self.documents.put_bytes(content)
        events = passed(content, document, collectivite=COLLECTIVITE, at=self.now)
        return (await self.history.append(events, expected_version=0))[-1]

    async def hear(self, event: Event) -> list[Fact]:
        """Hand an event to the service; return the facts it recorded."""
        before = len(self.history.log)
        handler = on_validated if event.kind in _BEGIN else on_step_taken
        await handler(event, event.data, signing=self.signing)
        return [one.data for one in self.history.log[before:]]

    async def hear_all(self, flux_id: UUID) -> None:
        """Let the service hear of the last fact of a flux, as the bus would."""
        await self.hear((await self.history.load(flux_id))[-1])

    async def waiting(self, content: bytes) -> UUID:
        """Return a flux that waits at the first step of its circuit."""
        event = await self.validated(content)
        await self.hear(event)
        return event.flux_id

    async def flux(self, flux_id: UUID) -> Flux:
        return fold(event.data for event in await self.history.load(flux_id))

    async def last(self, flux_id: UUID) -> Fact:
        return (await self.history.load(flux_id))[-1].data

    async def content(self, flux_id: UUID) -> bytes:
        document = (await self.flux(flux_id)).document
        assert document is not None
        return await self.documents.read(document.sha256)

    async def mandate(self, person: str, **changes: object) -> Mandate:
        """Record a mandate of this year."""
        values = {
            "mandate_id": new_id(),
            "collectivite": COLLECTIVITE,
            "person": person,
            "name": f"{person.title()} Exemple, maire",
            "act": "Procès-verbal d’élection",
            "valid_from": NOW - timedelta(days=30),
            "valid_until": NOW + timedelta(days=30),
            "recorded_at": NOW,
            **changes,
        }
        mandate = Mandate(**values)  # type: ignore[arg-type]
        await grant(self.registries.history, mandate)
        return mandate

    async def prepare(
        self, flux_ids: Sequence[UUID], *, who: Caller | None = None, holder: Holder | None = None
    ) -> Item:
        asked = Signer((holder or signer()).certificate, STATED)
        return await self.parapheur.prepare(flux_ids, asked, who or caller(MAYOR))

    async def complete(
        self, prepared: Item, *, who: Caller | None = None, holder: Holder | None = None
    ) -> Mapping[UUID, Item]:
        """Sign everything that was prepared, and bring it back; return what became of each flux."""
        made = values_of(prepared, holder or signer())
        asked = Signer((holder or signer()).certificate, STATED)
        at = datetime.fromisoformat(str(prepared["signing_time"]))
        return by_flux(await self.parapheur.complete(made, asked, at, who or caller(MAYOR)))

    async def sign(
        self, *flux_ids: UUID, who: Caller | None = None, holder: Holder | None = None
    ) -> Mapping[UUID, Item]:
        """Prepare and complete."""
        return await self.complete(await self.prepare(flux_ids, who=who, holder=holder), who=who, holder=holder)


_BEGIN = frozenset({kind_of(FluxValidated), "signature.restarted.v1"})


def by_flux(answer: Item) -> dict[UUID, Item]:
    """Return the items of an answer by flux."""
    items = answer["items"]
    assert isinstance(items, list)
    return {UUID(str(item["flux_id"])): item for item in items}


def values_of(prepared: Item, holder: Holder) -> dict[UUID, dict[str, bytes]]:
    """Sign what was prepared, as a card would."""
    return {
        flux_id: {one["element_id"]: value_of(holder, b64decode(one["to_sign"])) for one in item["elements"]}  # type: ignore[attr-defined]
        for flux_id, item in by_flux(prepared).items()
        if item["status"] == "prepared"
    }


def refusal(item: Item) -> str:
    """Return the last part of the type of a refused item's problem."""
    assert item["status"] == "refused"
    problem = item["problem"]
    assert isinstance(problem, dict)
    assert str(problem["detail"]).endswith(".")
    return str(problem["type"]).rpartition(":")[2]


def sealed_by(holder: Holder) -> KeySeal:
    """Return a seal."""
    return KeySeal(HeldKey(holder), STATED)  # type: ignore[arg-type]

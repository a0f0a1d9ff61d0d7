"""Signing and verifying a flux that was validated: with a seal, without one, and when it cannot be."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.local.pki import ensure_demo_pki
from services.signature.adapters.seal import PemSeal
from services.signature.handler import on_validated
from services.signature.verification import verify
from services.signature.xades import Claims
from shared.envelope import Event, new_id
from shared.errors import DocumentMissingError, UnavailableError
from shared.events import Fact, FluxImported, FluxSigned, FluxValidated, SignatureRequested, SignaturesRejected
from shared.lifecycle import State, fold
from tests import examples as an
from tests.fakes.memory_documents import MemoryDocuments
from tests.fakes.memory_history import MemoryHistory
from tests.judging import judged
from tests.platform import COLLECTIVITE, sample

NOW = datetime.now(UTC)
CLAIMS = Claims(role="Maire", city="Brumeval-les-Étangs", postal_code="34998")


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> PemSeal:
    pki = ensure_demo_pki(tmp_path_factory.mktemp("pki"), NOW)
    return PemSeal.from_files(pki.signer_key, pki.signer_certificate, CLAIMS)


@dataclass
class Bench:
    """All that the handler touches."""

    history: MemoryHistory = field(default_factory=MemoryHistory)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    now: datetime = NOW

    async def validated(self, content: bytes) -> Event:
        """Import and validate a document; return what the handler hears of."""
        reading = judged(content, collectivite=COLLECTIVITE)
        assert reading.header is not None
        document = await self.documents.put_bytes(content)
        first = Event.first(
            FluxImported(document=document, filename="flux.xml"),
            flux_id=new_id(),
            collectivite=COLLECTIVITE,
            actor="amina",
            correlation_id=new_id(),
            at=NOW,
        )
        fact = FluxValidated(
            header=reading.header,
            bordereaux=reading.bordereaux,
            attachments=reading.attachments,
            signature_required=reading.signature_required,
        )
        follow = first.follow(fact, actor="validation", at=NOW)
        return (await self.history.append([first, follow], expected_version=0))[-1]

    async def hear(self, event: Event, seal: PemSeal | None) -> list[Fact]:
        """Hand the event to the handler; return the facts it recorded."""
        before = len(self.history.log)
        assert isinstance(event.data, FluxValidated)
        await on_validated(
            event,
            event.data,
            history=self.history,
            documents=self.documents,
            seal=seal,
            now=lambda: self.now,
        )
        return [one.data for one in self.history.log[before:]]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_with_a_seal_every_bordereau_is_signed_and_verified(bench: Bench, seal: PemSeal) -> None:
    content = sample(1, depense_bordereaux=3)
    (requested, signed) = await bench.hear(await bench.validated(content), seal)
    assert isinstance(requested, SignatureRequested)
    assert isinstance(signed, FluxSigned)
    assert len(signed.signatures) == 3
    assert {one.element_id for one in signed.signatures} == set(requested.elements)
    stored = await bench.documents.read(signed.document.sha256)
    assert len(verify(stored)) == 3
    assert stored != content


async def test_a_redelivery_signs_nothing_again(bench: Bench, seal: PemSeal) -> None:
    event = await bench.validated(sample(1))
    await bench.hear(event, seal)
    stored = dict(bench.documents.contents)
    assert await bench.hear(event, seal) == []
    assert bench.documents.contents == stored


async def test_without_a_seal_the_flux_waits_for_a_person(bench: Bench) -> None:
    event = await bench.validated(sample(1))
    (requested,) = await bench.hear(event, None)
    assert isinstance(requested, SignatureRequested)
    assert fold(one.data for one in bench.history.log).state is State.TO_SIGN
    assert await bench.hear(event, None) == []


async def test_a_paper_flux_is_left_alone(bench: Bench, seal: PemSeal) -> None:
    assert await bench.hear(await bench.validated(sample(1, is_dematerialised=False)), seal) == []


async def test_a_flux_that_comes_signed_is_verified_and_kept_as_it_is(bench: Bench, seal: PemSeal) -> None:
    content = seal.sign(sample(1), NOW)
    (signed,) = await bench.hear(await bench.validated(content), None)
    assert isinstance(signed, FluxSigned)
    assert await bench.documents.read(signed.document.sha256) == content


async def test_only_what_is_missing_is_signed(bench: Bench, seal: PemSeal) -> None:
    content = seal.sign(sample(1, depense_bordereaux=2), NOW)
    start = content.index(b"<ds:Signature", content.index(b"</ds:Signature>"))
    end = content.index(b"</ds:Signature>", start) + len(b"</ds:Signature>")
    (requested, signed) = await bench.hear(await bench.validated(content[:start] + content[end:]), seal)
    assert isinstance(requested, SignatureRequested)
    assert isinstance(signed, FluxSigned)
    assert (len(requested.elements), len(signed.signatures)) == (1, 2)


async def test_a_signature_that_does_not_hold_is_refused_with_its_reason(bench: Bench, seal: PemSeal) -> None:
    content = seal.sign(sample(1), NOW)
    place = content.index(b"<Piece>")
    changed = content[:place] + b" " + content[place:]
    (rejected,) = await bench.hear(await bench.validated(changed), seal)
    assert isinstance(rejected, SignaturesRejected)
    (finding,) = rejected.findings
    assert (finding.code, finding.severity) == ("signature.invalid", "blocking")
    assert finding.message.endswith(".")
    assert fold(one.data for one in bench.history.log).state is State.INVALID


async def test_a_seal_out_of_date_waits_and_loses_nothing(bench: Bench, seal: PemSeal) -> None:
    event = await bench.validated(sample(1))
    bench.now = datetime(2099, 1, 1, tzinfo=UTC)
    with pytest.raises(UnavailableError):
        await bench.hear(event, seal)
    bench.now = NOW
    assert len(await bench.hear(event, seal)) == 2


async def test_a_document_that_is_lost_stops_the_service(bench: Bench, seal: PemSeal) -> None:
    event = await bench.validated(sample(1))
    bench.documents.contents.clear()
    with pytest.raises(DocumentMissingError):
        await bench.hear(event, seal)


async def test_a_cancelled_flux_is_not_signed(bench: Bench, seal: PemSeal) -> None:
    event = await bench.validated(sample(1))
    await bench.history.append([event.follow(an.cancelled, actor="amina", at=NOW)], expected_version=2)
    assert await bench.hear(event, seal) == []


def test_files_that_hold_no_key_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nothing")
    with pytest.raises(ValueError, match="PEM"):
        PemSeal.from_files(tmp_path / "key.pem", tmp_path / "key.pem", CLAIMS)

"""How fast signatures are verified beside the xmlsec C library, and made beside the bare mathematics."""

from base64 import b64decode
from pathlib import Path

import xmlsec
from lxml import etree

from pes.reading import xml as pes
from pes.sample import SampleSpec, build_sample
from signing.algorithms import DS
from signing.second_opinion import second_opinions
from signing.trust import TrustList, vouched
from signing.verification import verify
from signing.xades import canonical, sign
from tests.bench.figures import ROUNDS, Figure, medians
from tests.parapheur import STATED, HeldKey
from tests.pki import crl, intermediate, signer
from tests.signing import NOW

ROUNDS_OF_LARGE = 3
LARGE_BYTES = 5_000_000
FLUX = 100
PIECES_MAX = 1000
# Bordereaux, and about how many bytes; a pièce with one ligne weighs some 1,500 bytes.
SHAPES = (
    (1, 70_000),
    (5, 70_000),
    (50, 70_000),
    (1, 1_000_000),
    (5, 1_000_000),
    (50, 1_000_000),
    (1, 10_000_000),
    (5, 10_000_000),
    (50, 10_000_000),
)


def measure_signature(_: Path) -> list[Figure]:
    """Verify and sign flux of several shapes."""
    documents = {shape: _signed(flux_of(*shape)) for shape in SHAPES}
    figures = [_verification(shape[0], documents[shape]) for shape in SHAPES]
    figures += [_second_opinion(documents[5, 70_000], "70 kB"), _second_opinion(documents[5, 1_000_000], "1 MB")]
    return [*figures, _linear(documents[1, 10_000_000], documents[50, 10_000_000]), _signing()]


def flux_of(bordereaux: int, size: int) -> bytes:
    """Return a flux of so many bordereaux and about so many bytes."""
    pieces = max(1, min(PIECES_MAX // bordereaux, size // (bordereaux * 1_500)))
    lignes = 1
    document = build_sample(_spec(bordereaux, pieces, lignes))
    while len(document) < 0.9 * size and lignes < 100:
        lignes = max(lignes + 1, round(lignes * size / len(document) / 1.5))
        document = build_sample(_spec(bordereaux, pieces, lignes))
    return document


def _signed(document: bytes) -> bytes:
    return sign(document, key=HeldKey(signer()), signing_time=NOW, stated=STATED)


def _spec(bordereaux: int, pieces: int, lignes: int) -> SampleSpec:
    return SampleSpec(
        depense_bordereaux=bordereaux, pieces_per_bordereau=pieces, lignes_per_piece=lignes, pj_per_piece=0
    )


def _verification(bordereaux: int, document: bytes) -> Figure:
    trust = TrustList((intermediate().certificate,), (crl(intermediate()),))

    def ours() -> None:
        if vouched(verify(document), trust, now=NOW).verdict != "valid":
            raise RuntimeError("a benchmark's flux does not verify")

    mine, core = medians(
        ours,
        lambda: verify_core(document),
        times=max(1, 500_000 // len(document)),
        rounds=ROUNDS_OF_LARGE if len(document) > LARGE_BYTES else ROUNDS,
    )
    return Figure(
        name=f"signature: {bordereaux} signed bordereaux, {len(document) / 1000:,.0f} kB, verified",
        value=1 / mine,
        unit="files/s",
        goal="≥ the reference",
        is_met=mine <= core,
        reference=1 / core,
        reference_name="xmlsec, core only",
    )


def verify_core(document: bytes) -> None:
    """Verify with the C library, and do nothing else: no chain, no XAdES, no wrapping."""
    root = etree.fromstring(document, pes.safe_parser())
    for signature in root.iter(f"{{{DS}}}Signature"):
        context = xmlsec.SignatureContext()
        for element in (signature.getparent(), signature[-1][0][0]):  # what the two references name
            if element is not None:
                context.register_id(element, "Id")
        der = signature.findtext(f".//{{{DS}}}X509Certificate")
        context.key = xmlsec.Key.from_memory(b64decode(der or ""), xmlsec.constants.KeyDataFormatCertDer)
        context.verify(signature)


def _second_opinion(document: bytes, name: str) -> Figure:
    report = verify(document)
    ours, theirs = medians(
        lambda: vouched(verify(document), None, now=NOW), lambda: second_opinions(document, report)
    )
    return Figure(
        name=f"signature: 5 signed bordereaux, {name}, second opinion (signxml)",
        value=1 / theirs,
        unit="files/s",
        goal="none: it is not ours",
        is_met=True,
        reference=1 / ours,
        reference_name="our verification",
    )


def _linear(one: bytes, many: bytes) -> Figure:
    few, fifty = medians(lambda: verify(one), lambda: verify(many))
    return Figure(
        name=f"signature: time for 50 bordereaux beside 1, {len(many) / 1e6:.1f} MB",
        value=fifty / len(many) * 1e9,
        unit="ms/MB",
        goal="≤ 1.5 × the reference: linear in size",
        is_met=fifty / len(many) <= 1.5 * few / len(one),
        reference=few / len(one) * 1e9,
        reference_name="1 bordereau",
    )


def _signing() -> Figure:
    documents = [build_sample(_spec_of_signing(number)) for number in range(1, FLUX + 1)]
    key = HeldKey(signer())
    roots = [pes.read(document) for document in documents]
    carriers = [next(root.iter("Bordereau")) for root in roots]

    def bare() -> None:
        for carrier in carriers:
            key.sign(canonical(carrier))

    def ours() -> None:
        for document in documents:
            _signed(document)

    mine, reference = medians(ours, bare)
    return Figure(
        name=f"signature: {FLUX} flux of {len(documents[0]) / 1000:.0f} kB signed with a local key",
        value=mine * 1000,
        unit="ms",
        goal="≤ 3 × the reference",
        is_met=mine <= 3 * reference,
        reference=reference * 1000,
        reference_name=f"{FLUX} RSA-2048 signatures and canonicalisations",
    )


def _spec_of_signing(number: int) -> SampleSpec:
    return SampleSpec(number=number, pieces_per_bordereau=86, pj_per_piece=0)

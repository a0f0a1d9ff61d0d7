"""What signxml, which is not ours, thinks of each signature: digests and value, computed from the bytes anew.

Nothing is sent on the word of one program. Before FluxSigned is appended, every signature that we hold for good is
shown to signxml too. If the two disagree, one of them is wrong: the flux stops, whoever runs the platform is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from pes.reading import xml
from signing.algorithms import DIGESTS, DS, SIGNATURE_METHODS
from signing.report import Report


@dataclass(frozen=True)
class Opinion:
    """What signxml says of one signature; `reason` is its own sentence when it does not hold."""

    element_id: str
    holds: bool
    reason: str = ""


class VerifiersDisagreeError(ValueError):
    """Our verification and signxml's say different things of one flux. Stop there: a person looks at both."""


def second_opinions(document: bytes, report: Report) -> list[Opinion]:
    """Ask signxml about each signature of a document, in document order.

    Args:
        document: the bytes that `report` is about.
        report: says which certificate each signature was made with, and when.
    """
    root = xml.read(document)
    found = root.iter(f"{{{DS}}}Signature")
    return [
        _opinion(signature, one.certificate, one.signing_time)
        for signature, one in zip(found, report.signatures, strict=True)
    ]


def require_agreement(document: bytes, report: Report) -> None:
    """Return if signxml, too, holds every signature of a document for good.

    Raises:
        VerifiersDisagreeError: it does not.
    """
    opinions = second_opinions(document, report)
    against = [
        opinion for one, opinion in zip(report.signatures, opinions, strict=True) if one.holds != opinion.holds
    ]
    if against:
        raise VerifiersDisagreeError(_told(against))


def _told(against: Sequence[Opinion]) -> str:
    said = "; ".join(f"{one.element_id}: {one.reason or 'it holds'}" for one in against[:5])
    return f"signxml disagrees on {said}"


def _opinion(
    signature: etree._Element, certificate: x509.Certificate | None, signing_time: datetime | None
) -> Opinion:
    carrier = signature.getparent()
    if carrier is None or certificate is None or signing_time is None:
        return Opinion("", holds=False, reason="nothing to verify with")
    element_id = carrier.get("Id", "")
    # Canonicalisation is exclusive, so the carrier alone is enough (5.3), and the cost stays linear: signxml copies
    # what it is given for each reference.
    alone = etree.tostring(carrier, with_tail=False)
    config = SignatureConfiguration(
        location="./",
        expect_references=2,
        signature_methods=frozenset(SignatureMethod(name) for name in SIGNATURE_METHODS),
        digest_algorithms=frozenset(DigestAlgorithm(name) for name in DIGESTS),
        verification_time=signing_time,
        ignore_ambiguous_key_info=True,  # the certificate's key is the only one that counts
    )
    try:
        XMLVerifier().verify(
            alone, x509_cert=certificate, parser=xml.safe_parser(), id_attribute="Id", expect_config=config
        )
    except (SignXMLException, etree.LxmlError, ValueError) as error:
        return Opinion(element_id, holds=False, reason=f"{type(error).__name__}: {error}"[:300])
    return Opinion(element_id, holds=True)

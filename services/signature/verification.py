"""Says whether each signature of a document holds, whoever made it.

What is asked here: does the signature belong to the element it sits in, has that element kept its bytes, and
was it made with the key of the certificate it carries, valid on the day it states. Whether that certificate
deserves trust is *not* judged here: it comes with the trust lists. Whether every bordereau is covered is the
caller's question, answered with ``outline.targets``.

``signxml`` recomputes digests and values; what it does not look at, this module does (``helios.md`` 5.7).
"""

import hashlib
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from services.signature.xades import (
    DS,
    ENVELOPED,
    EXC_C14N,
    POLICY,
    POLICY_SHA256,
    RSA_SHA256,
    SHA1,
    SHA256,
)
from shared import pes
from shared.pes import UnreadableError, read

# 5.5: one policy was published again under the same OID. Digests without their padding: a genuine signature
# lacks it.
KNOWN_POLICIES: Final[Mapping[str, frozenset[str]]] = {
    "urn:oid:1.2.250.1.131.1.5.18.21.1.4": frozenset(
        {"Jkdb+aba0Hz6+ZPKmKNhPByzQ+Q", "pYtFgzn09kQWZywqdIGVd1fFI07tjKmEAyQHr0l/YAk"}
    ),
    POLICY: frozenset({POLICY_SHA256.rstrip("="), "GbP1WjbTrHp6h9zlsz5RN7AqkJbnDNDOAQzgm1qzIJ4"}),
}

_DS = f"{{{DS}}}"
_XADES = ("http://uri.etsi.org/01903/v1.2.2#", "http://uri.etsi.org/01903/v1.1.1#")
_PROPERTIES_TYPES = frozenset(f"{prefix}SignedProperties" for prefix in (*_XADES, "http://uri.etsi.org/01903#"))
_CANONICALISATIONS = frozenset({EXC_C14N, f"{EXC_C14N}WithComments"})
_CERTIFICATE_DIGESTS = {SHA1: "sha1", SHA256: "sha256", "http://www.w3.org/2001/04/xmlenc#sha512": "sha512"}


class SignatureInvalidError(ValueError):
    """One signature does not hold. The flux must be signed again; the message, in French, says why.

    Attributes:
        element_id: the element that carries the signature; empty if it has no Id, or for the whole document.
        reason: what does not hold, in French.
    """

    def __init__(self, element_id: str, reason: str) -> None:
        super().__init__(f"La signature de « {element_id or 'ce fichier'} » n'est pas valable : {reason}")
        self.element_id = element_id
        self.reason = reason


@dataclass(frozen=True)
class VerifiedSignature:
    """A signature that holds. ``certificate`` is the signatory's, and nobody has vouched for it yet."""

    element_id: str
    """The signed element; empty only for a root that has no Id."""
    is_global: bool
    signing_time: datetime
    signer: str
    """The certificate's subject (RFC 4514)."""
    certificate_serial: int
    certificate: x509.Certificate
    claimed_role: str
    policy: str
    is_policy_known: bool
    """False is worth a warning, never a refusal: verifiers only recommend the policy (5.7)."""


def verify(document: bytes) -> list[VerifiedSignature]:
    """Verify every signature of a document, in document order; none is an empty list.

    Raises:
        SignatureInvalidError: at the first signature that does not hold, or at an ambiguous Id.
    """
    try:
        root = read(document)
    except UnreadableError as error:
        raise SignatureInvalidError("", f"le fichier n'est pas du XML lisible ({error})") from error
    signatures = list(root.iter(f"{_DS}Signature"))
    if signatures:
        _refuse_duplicate_ids(root)
    return [_verify_one(signature) for signature in signatures]


class _RefusedError(Exception):
    """Why one signature does not hold, before the element's Id is added."""


def _verify_one(signature: etree._Element) -> VerifiedSignature:
    """Verify one signature.

    1. It sits where signatures sit: alone in a bordereau, or in the root.
    2. It has the form of 5.3 and refers to the element that it sits in, and to its own properties.
    3. It states a signing time, in UTC.
    4. Its certificate is the one it names, has an RSA key, and was valid at the signing time.
    5. The digests and the value are right.
    """
    parent = signature.getparent()
    element_id = "" if parent is None else parent.get("Id", "")
    try:
        carrier = _carrier(signature)
        properties = _signed_properties(signature)
        _check_algorithms(signature)
        _check_references(signature, carrier, properties)
        signing_time = _signing_time(properties)
        certificate = _certificate(signature, properties, signing_time)
        _check_values(signature, carrier, certificate, signing_time)
    except _RefusedError as error:
        raise SignatureInvalidError(element_id, str(error)) from error
    policy, is_policy_known = _policy(properties)
    return VerifiedSignature(
        element_id=element_id,
        is_global=carrier.getparent() is None,
        signing_time=signing_time,
        signer=certificate.subject.rfc4514_string(),
        certificate_serial=certificate.serial_number,
        certificate=certificate,
        claimed_role=properties.findtext(".//{*}ClaimedRole") or "",
        policy=policy,
        is_policy_known=is_policy_known,
    )


def _refuse_duplicate_ids(root: etree._Element) -> None:
    # Verifiers resolve "#Id" on the attribute's local name, so that is what must be unique.
    counts = Counter(str(value) for value in root.xpath("//@*[local-name() = 'Id']"))
    for element_id, count in counts.items():
        if count > 1:
            raise SignatureInvalidError(
                element_id, f"{count} éléments portent cet Id, la signature ne désigne pas un seul contenu."
            )


# Step 1
def _carrier(signature: etree._Element) -> etree._Element:
    parent = signature.getparent()
    if parent is None or (parent.getparent() is not None and parent.tag != "Bordereau"):
        raise _RefusedError("elle n'est placée ni dans un bordereau, ni à la racine du fichier.")
    # PESSignatureType allows one; the enveloped transform removes only itself, so a second breaks the first.
    if len(parent.findall(f"{_DS}Signature")) != 1:
        raise _RefusedError("l'élément porte plusieurs signatures, une seule est admise.")
    return parent


# Step 2
def _signed_properties(signature: etree._Element) -> etree._Element:
    """Return the signature's own SignedProperties: everything we report is read in there, nowhere else."""
    # A comment is outside the digest, yet it would cut in two the texts that are read below.
    if next(signature.iter(etree.Comment, etree.ProcessingInstruction), None) is not None:
        raise _RefusedError("elle contient un commentaire, que rien ne protège.")
    found = [
        properties
        for namespace in _XADES
        for qualifying in signature.findall(f"{_DS}Object/{{{namespace}}}QualifyingProperties")
        # STELA's Target lacks the "#" (5.6).
        if qualifying.get("Target", "").removeprefix("#") == signature.get("Id")
        for properties in qualifying.findall(f"{{{namespace}}}SignedProperties")
    ]
    if len(found) != 1:
        raise _RefusedError("ses propriétés XAdES 1.1.1 ou 1.2.2 sont absentes, ou en plusieurs exemplaires.")
    return found[0]


def _check_algorithms(signature: etree._Element) -> None:
    info = f"{_DS}SignedInfo"
    canonicalisation = _algorithm(signature, f"{info}/{_DS}CanonicalizationMethod")
    if canonicalisation not in _CANONICALISATIONS:
        raise _RefusedError(f"la canonicalisation « {canonicalisation} » n'est pas admise (exclusive attendue).")
    methods = [_algorithm(signature, f"{info}/{_DS}SignatureMethod")]
    methods += [
        _algorithm(reference, f"{_DS}DigestMethod") for reference in signature.iterfind(f"{info}/{_DS}Reference")
    ]
    for method in methods:
        if method.endswith("sha1"):
            raise _RefusedError(
                "elle repose sur SHA-1 (forme antérieure à 2018), qui n'est plus sûr : signez à nouveau en SHA-256."
            )
        if method not in {RSA_SHA256, SHA256}:
            raise _RefusedError(f"l'algorithme « {method} » n'est pas admis (RSA et SHA-256 attendus).")


def _check_references(signature: etree._Element, carrier: etree._Element, properties: etree._Element) -> None:
    references = signature.findall(f"{_DS}SignedInfo/{_DS}Reference")
    on_properties = [reference for reference in references if reference.get("Type") in _PROPERTIES_TYPES]
    on_content = [reference for reference in references if reference.get("Type") not in _PROPERTIES_TYPES]
    if len(on_properties) != 1 or len(on_content) != 1:
        raise _RefusedError("elle doit couvrir le contenu et ses propres propriétés, et rien d'autre.")
    accepted = {f"#{carrier.get('Id')}"} if carrier.get("Id") else set()
    if carrier.getparent() is None:
        accepted.add("")  # 5.7.2: an empty reference means the root
    if on_content[0].get("URI") not in accepted:
        raise _RefusedError(
            f"elle désigne « {on_content[0].get('URI', '')} » et non l'élément dans lequel elle est placée."
        )
    if not properties.get("Id") or on_properties[0].get("URI") != f"#{properties.get('Id')}":
        raise _RefusedError("elle ne désigne pas ses propres propriétés.")
    for reference in references:
        _text(reference, f"{_DS}DigestValue")
    _check_transforms(on_content[0], enveloped=True)
    _check_transforms(on_properties[0], enveloped=False)


def _check_transforms(reference: etree._Element, *, enveloped: bool) -> None:
    transforms = [one.get("Algorithm", "") for one in reference.iterfind(f"{_DS}Transforms/{_DS}Transform")]
    expected = [ENVELOPED] if enveloped else []
    if transforms[:-1] != expected or _CANONICALISATIONS.isdisjoint(transforms[-1:]):
        raise _RefusedError("les transformations de ses références ne sont pas celles d'un PES.")


# Step 3
def _signing_time(properties: etree._Element) -> datetime:
    text = _text(properties, "{*}SignedSignatureProperties/{*}SigningTime")
    try:
        signing_time = datetime.fromisoformat(text)
    except ValueError as error:
        raise _RefusedError(f"sa date « {text} » n'est pas lisible.") from error
    if signing_time.utcoffset() != timedelta(0):
        raise _RefusedError(f"sa date « {text} » n'est pas en temps universel (UTC).")
    return signing_time


# Step 4
def _certificate(signature: etree._Element, properties: etree._Element, signing_time: datetime) -> x509.Certificate:
    path = f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate"
    try:
        ders = [b64decode(element.text or "") for element in signature.iterfind(path)]
        certificates = [x509.load_der_x509_certificate(der) for der in ders]
        named = [one for one in certificates if _is_named(one, properties)]
        key = named[0].public_key() if len(named) == 1 else None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _RefusedError("le certificat qu'elle contient est illisible.") from error
    if key is None:
        raise _RefusedError("elle ne contient pas le certificat que désignent ses propriétés.")
    if not isinstance(key, rsa.RSAPublicKey):
        raise _RefusedError("la clé de son certificat n'est pas une clé RSA.")
    if not named[0].not_valid_before_utc <= signing_time <= named[0].not_valid_after_utc:
        raise _RefusedError(f"son certificat n'était pas valide le {signing_time:%d/%m/%Y}, date de signature.")
    return named[0]


def _is_named(certificate: x509.Certificate, properties: etree._Element) -> bool:
    """Tell whether SigningCertificate names this one; not by its issuer, which tools write in many ways."""
    path = "{*}SignedSignatureProperties/{*}SigningCertificate/{*}Cert"
    if properties.find(path) is None:
        return True  # XAdES 1.2.2 allows it: then KeyInfo must hold one certificate only
    digest = _CERTIFICATE_DIGESTS.get(_algorithm(properties, f"{path}/{{*}}CertDigest/{{*}}DigestMethod"))
    if digest is None:
        return False
    actual = hashlib.new(digest, certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return b64decode(_text(properties, f"{path}/{{*}}CertDigest/{{*}}DigestValue")) == actual and _text(
        properties, f"{path}/{{*}}IssuerSerial/{{*}}X509SerialNumber"
    ) == str(certificate.serial_number)


# Step 5
def _check_values(
    signature: etree._Element, carrier: etree._Element, certificate: x509.Certificate, signing_time: datetime
) -> None:
    _text(signature, f"{_DS}SignatureValue")
    # Canonicalisation is exclusive, so the carrier alone is enough (5.3), and the cost stays linear: signxml
    # copies what it is given for each reference.
    alone = etree.tostring(carrier, with_tail=False)
    config = SignatureConfiguration(
        location="./",
        expect_references=2,
        signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
        verification_time=signing_time,
        ignore_ambiguous_key_info=True,  # the certificate's key is the only one that counts
    )
    try:
        XMLVerifier().verify(
            alone, x509_cert=certificate, parser=pes.safe_parser(), id_attribute="Id", expect_config=config
        )
    except InvalidDigest as error:
        raise _RefusedError("le contenu signé a été modifié depuis la signature.") from error
    except (SignXMLException, etree.LxmlError, ValueError) as error:
        raise _RefusedError(f"sa valeur ou sa forme ne se vérifie pas ({error}).") from error


def _policy(properties: etree._Element) -> tuple[str, bool]:
    policy = properties.find("{*}SignedSignatureProperties/{*}SignaturePolicyIdentifier/{*}SignaturePolicyId")
    if policy is None:
        return "", False
    identifier = (policy.findtext("{*}SigPolicyId/{*}Identifier") or "").strip()
    digest = (policy.findtext("{*}SigPolicyHash/{*}DigestValue") or "").strip().rstrip("=")
    return identifier, digest in KNOWN_POLICIES.get(identifier, frozenset())


def _algorithm(element: etree._Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get("Algorithm", "")


def _text(element: etree._Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise _RefusedError(f"il lui manque « {path.rpartition('}')[2]} ».")
    return text

"""Says whether each signature of a document holds, whoever made it: the mathematics and the form, not the trust.

Theory of operation. A document is parsed once. Each ds:Signature in it, wherever it lies, goes through checks 1 to 17
of `services.signature.checks`. The first ones bind the signature to the element that contains it: a signature that
refers to anything else, or whose Id could mean something else to another program, is refused before its digests are
looked at (signature wrapping). Only then are the digests and the value computed, with lxml's exclusive
canonicalisation and ``cryptography``. Who vouches for the certificate is the matter of `services.signature.trust`.

Nothing here looks a name up in the document: the content of a signature is its parent, its properties are its
own. The cost is one canonicalisation for each signed element, whatever the number of bordereaux.

Clauses are those of the fact dossier, ``helios.md`` section 5.
"""

import hashlib
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from services.signature import checks
from services.signature.algorithms import (
    CANONICALISATIONS,
    DIGESTS,
    DS,
    ENVELOPED,
    KNOWN_POLICIES,
    PROPERTIES_TYPES,
    SHA1_METHODS,
    SIGNATURE_METHODS,
    XADES_VERSIONS,
    Method,
)
from services.signature.checks import Check
from services.signature.outline import PLAIN_ID, UnsignableError
from services.signature.report import Classification, Report, SignatureReport
from services.signature.xades import canonical, rfc2253
from shared.events import Finding, Severity
from shared.pes import UnreadableError, read

RSA_BITS_MIN: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
SIGNATURES_MAX: Final = 10_000  # a PES holds some hundreds of bordereaux

_DS = f"{{{DS}}}"
_SIGNATURE = f"{_DS}Signature"
_DOMAINS = ("PES_DepenseAller", "PES_RecetteAller")
# Other programs resolve "#Id" by Id, ID, id or xml:id: to each of them, a reference must mean one element.
_ID_IN_LOWER_CASE = re.compile(rb"""id\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ID_ATTRIBUTES = etree.XPath(
    "//@*[local-name() = 'Id' or local-name() = 'ID' or local-name() = 'id' or local-name() = 'iD']"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


def verify(document: bytes) -> Report:
    """Verify every signature of a document (checks 1 to 17, and 22); nothing is said of trust yet.

    Args:
        document: any bytes; not trusted.

    Returns:
        Every signature in document order, with everything there is to say against it.
    """
    try:
        root = read(document)
    except UnreadableError as error:
        return Report(findings=(checks.READABLE.finding("", f"Le fichier n'est pas du XML lisible ({error})."),))
    found = list(root.iter(_SIGNATURE))
    if len(found) > SIGNATURES_MAX:
        message = f"Le fichier contient {len(found)} signatures ; {SIGNATURES_MAX} au plus sont admises."
        return Report(findings=(checks.STRUCTURE.finding("", message),))
    readings = [_read_form(signature) for signature in found]
    _refuse_ambiguous_ids(document, root, readings)
    classification, incomplete = _classify(root)
    # A signature of the whole covers the others: its digest comes first, while they are all in their places.
    has_comments = b"<!--" in document
    for reading in sorted(readings, key=lambda one: not one.is_global):
        with _refusing(reading):
            _check_values(reading, has_comments=has_comments)
    return Report(tuple(reading.report() for reading in readings), classification, incomplete)


@dataclass
class _Reading:
    """One signature while it is being read: what is known of it, and what was found."""

    signature: etree._Element
    parent: etree._Element | None
    findings: list[Finding] = field(default_factory=list)
    known: SignatureReport = field(default_factory=SignatureReport)
    ids: list[str] = field(default_factory=list)
    signed_info: bytes = b""
    method: Method | None = None
    value: bytes = b""
    digests: list[tuple[Check, str, bytes, bool]] = field(default_factory=list)
    properties: etree._Element | None = None

    @property
    def is_global(self) -> bool:
        return self.parent is not None and self.parent.getparent() is None

    @property
    def is_refused(self) -> bool:
        return any(finding.severity == "blocking" for finding in self.findings)

    def say(self, check: Check, message: str, severity: Severity | None = None) -> None:
        line = self.signature.sourceline
        self.findings.append(check.finding(self.known.element_id, message, severity=severity, line=line))

    def know(self, **values: object) -> None:
        self.known = replace(self.known, **values)  # type: ignore[arg-type]  # each name is a field of the report

    def report(self) -> SignatureReport:
        numbers = {check.code: check.number for check in checks.ALL}
        return replace(self.known, findings=tuple(sorted(self.findings, key=lambda one: numbers[one.code])))


class _RefusedError(Exception):
    """Why one signature does not hold; nothing that follows makes sense any more."""

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(message)
        self.check = check


@contextmanager
def _refusing(reading: _Reading) -> Iterator[None]:
    try:
        yield
    except _RefusedError as refused:
        reading.say(refused.check, str(refused))
    except UnsignableError as error:
        reading.say(checks.STRUCTURE, str(error))


def _read_form(signature: etree._Element) -> _Reading:
    """Read one signature, checks 1 to 9 and 14 to 17, and keep what its digests must be compared with."""
    reading = _Reading(signature, signature.getparent())
    reading.know(signature_id=signature.get("Id", ""), is_global=reading.is_global)
    if reading.parent is not None:
        reading.know(element_id=reading.parent.get("Id", ""))
    with _refusing(reading):
        _check_placement(reading)
        info, value, properties = _structure(reading)
        reading.properties = properties
        _read_stated(reading, properties)
        _check_algorithms(reading, info)
        _check_references(reading, info, properties)
        certificate = _certificate(reading, properties)
        reading.know(certificate=certificate, signer=certificate.subject.rfc4514_string())
        _check_key(reading, certificate)
        _check_key_values(reading, certificate)
        reading.value = _base64(value.text, checks.VALUE, "sa valeur")
        reading.signed_info = canonical(info)
    return reading


# --- Check 1: placement --------------------------------------------------------------------------------------


def _check_placement(reading: _Reading) -> None:
    parent = reading.parent
    if parent is None:
        raise _RefusedError(checks.PLACEMENT, "La signature est elle-même la racine du fichier : elle ne signe rien.")
    if not reading.is_global and not _is_bordereau(parent):
        raise _RefusedError(
            checks.PLACEMENT,
            f"La signature est placée dans « {etree.QName(parent).localname} » : elle n'est admise qu'à la racine, "
            "ou dans un bordereau de dépense ou de recette.",
        )
    # PESSignatureType allows one; "enveloped" removes only itself, so a second one breaks the first.
    if sum(1 for _ in parent.iterchildren(_SIGNATURE)) != 1:
        raise _RefusedError(checks.PLACEMENT, "L'élément porte plusieurs signatures ; une seule est admise.")


def _is_bordereau(element: etree._Element) -> bool:
    domain = element.getparent()
    if element.tag != "Bordereau" or domain is None or domain.tag not in _DOMAINS:
        return False
    root = domain.getparent()
    return root is not None and root.getparent() is None


# --- Check 2: Ids --------------------------------------------------------------------------------------------


def _refuse_ambiguous_ids(document: bytes, root: etree._Element, readings: list[_Reading]) -> None:
    wanted = {one for reading in readings for one in reading.ids}
    if not wanted or _are_unique(document, wanted):
        return
    counts = Counter(str(value).strip() for value in _ID_ATTRIBUTES(root))
    for reading in readings:
        for one in dict.fromkeys(reading.ids):
            if counts[one] > 1:
                reading.say(
                    checks.IDENTIFIERS,
                    f"{counts[one]} éléments portent l'Id « {one} » : la signature ne désigne pas un seul contenu.",
                )


def _are_unique(document: bytes, wanted: set[str]) -> bool:
    """Say whether a look at the bytes is enough to know that no two elements have one of these Ids.

    Everything that could be an Id is looked at, in lower case: to find one twice proves nothing, to find each once
    does.
    An Id that could be written in several ways (a reference to a character, an accent) proves nothing either.
    """
    values = [double or single for double, single in _ID_IN_LOWER_CASE.findall(document.lower())]
    joined = b"".join(values)
    if b"&" in joined or not joined.isascii():
        return False
    counts = Counter(one.strip() for one in values)
    return all(one.isascii() and counts[one.lower().encode("ascii")] <= 1 for one in wanted)


# --- Check 3: structure --------------------------------------------------------------------------------------


def _structure(reading: _Reading) -> tuple[etree._Element, etree._Element, etree._Element]:
    """Return SignedInfo, SignatureValue and the signature's own SignedProperties."""
    signature = reading.signature
    # A comment is outside the digests, yet it would cut in two the texts that are read below.
    if next(signature.iter(etree.Comment, etree.ProcessingInstruction, etree.Entity), None) is not None:
        raise _RefusedError(checks.STRUCTURE, "La signature contient un commentaire, que rien ne protège.")
    names = [child.tag for child in signature]
    expected = [f"{_DS}SignedInfo", f"{_DS}SignatureValue"]
    rest = names[2:]
    if rest[:1] == [f"{_DS}KeyInfo"]:
        rest = rest[1:]
    if names[:2] != expected or any(name != f"{_DS}Object" for name in rest):
        raise _RefusedError(
            checks.STRUCTURE,
            "La signature doit contenir SignedInfo, SignatureValue, KeyInfo et Object, dans cet ordre, sans plus.",
        )
    for element in signature.iter(f"{_DS}*"):
        _check_written(element)
        if element_id := element.get("Id"):
            reading.ids.append(element_id)
    if not reading.known.signature_id:
        raise _RefusedError(checks.IDENTIFIERS, "La signature n'a pas d'Id : ses propriétés ne peuvent la désigner.")
    return signature[0], signature[1], _signed_properties(signature)


# XMLDSig's schema: the attributes of each element that a PES's signature is made of. Those with a text hold nothing
# else; the others hold elements only.
_ATTRIBUTES: Final[dict[str, frozenset[str]]] = {
    "Signature": frozenset({"Id"}),
    "SignedInfo": frozenset({"Id"}),
    "CanonicalizationMethod": frozenset({"Algorithm"}),
    "SignatureMethod": frozenset({"Algorithm"}),
    "Reference": frozenset({"Id", "URI", "Type"}),
    "Transforms": frozenset(),
    "Transform": frozenset({"Algorithm"}),
    "DigestMethod": frozenset({"Algorithm"}),
    "KeyInfo": frozenset({"Id"}),
    "KeyValue": frozenset(),
    "RSAKeyValue": frozenset(),
    "X509Data": frozenset(),
    "X509IssuerSerial": frozenset(),
    "Object": frozenset({"Id", "MimeType", "Encoding"}),
}
_ATTRIBUTES_BESIDE_TEXT: Final[dict[str, frozenset[str]]] = {
    "SignatureValue": frozenset({"Id"}),
    **dict.fromkeys(
        (
            "DigestValue",
            "KeyName",
            "Modulus",
            "Exponent",
            "X509Certificate",
            "X509CRL",
            "X509IssuerName",
            "X509SerialNumber",
            "X509SKI",
            "X509SubjectName",
            "XPath",  # refused as a transform, with a clearer sentence
        ),
        frozenset[str](),
    ),
}


def _check_written(element: etree._Element) -> None:
    """Refuse what XMLDSig's schema does not have: other programs would not read it as we do."""
    name = str(element.tag).removeprefix(_DS)
    attributes = _ATTRIBUTES.get(name)
    if attributes is not None:
        texts = [element.text, *(child.tail for child in element)]
        is_plain = not any((text or "").strip() for text in texts)
    else:
        attributes = _ATTRIBUTES_BESIDE_TEXT.get(name)
        is_plain = len(element) == 0
    is_named_well = PLAIN_ID.fullmatch(element.get("Id", "_")) is not None
    if attributes is None or not is_plain or not is_named_well or not attributes.issuperset(element.attrib):
        raise _RefusedError(
            checks.STRUCTURE, f"L'élément « {name[:100]} » de la signature n'est pas écrit comme le veut XMLDSig."
        )


def _signed_properties(signature: etree._Element) -> etree._Element:
    """Return the signature's own SignedProperties: everything we report is read in there, nowhere else."""
    held = [child for one in signature.iterchildren(f"{_DS}Object") for child in one]
    qualifying = {f"{{{namespace}}}QualifyingProperties": namespace for namespace in XADES_VERSIONS}
    if any(child.tag not in qualifying for child in held):
        raise _RefusedError(
            checks.STRUCTURE,
            "Un Object de la signature contient autre chose que des propriétés XAdES 1.1.1 ou 1.2.2.",
        )
    found = [
        properties
        for child in held
        for properties in child.iterchildren(f"{{{qualifying[str(child.tag)]}}}SignedProperties")
    ]
    if len(held) != 1 or len(found) != 1:
        raise _RefusedError(
            checks.STRUCTURE, "Les propriétés XAdES 1.1.1 ou 1.2.2 sont absentes, ou en plusieurs exemplaires."
        )
    # STELA's Target lacks the "#" (5.6).
    if held[0].get("Target", "").removeprefix("#") != signature.get("Id"):
        raise _RefusedError(checks.STRUCTURE, "Les propriétés XAdES jointes sont celles d'une autre signature.")
    return found[0]


# --- Check 4: algorithms -------------------------------------------------------------------------------------


def _check_algorithms(reading: _Reading, info: etree._Element) -> None:
    canonicalisation = _algorithm(info, f"{_DS}CanonicalizationMethod")
    if canonicalisation not in CANONICALISATIONS:
        raise _RefusedError(
            checks.ALGORITHM,
            f"La canonicalisation « {canonicalisation} » n'est pas admise : seule l'exclusive l'est.",
        )
    name = _algorithm(info, f"{_DS}SignatureMethod")
    reading.method = SIGNATURE_METHODS.get(name)
    if reading.method is None:
        raise _RefusedError(
            checks.ALGORITHM, f"L'algorithme de signature « {name} » n'est pas admis : RSA ou ECDSA, avec SHA-2."
        )
    digests = [_algorithm(reference, f"{_DS}DigestMethod") for reference in info.iterchildren(f"{_DS}Reference")]
    for digest in digests:
        if digest not in DIGESTS:
            raise _RefusedError(checks.ALGORITHM, f"L'algorithme d'empreinte « {digest} » n'est pas admis : SHA-2.")
    weakest = "sha1" if "sha1" in {DIGESTS[digest] for digest in digests} else reading.method.digest
    version = (
        XADES_VERSIONS.get(etree.QName(reading.properties).namespace or "", "")
        if reading.properties is not None
        else ""
    )
    reading.know(form=f"xades-env-{version}-{weakest}")
    if name in SHA1_METHODS or weakest == "sha1":
        reading.say(
            checks.SHA1_ERA,
            "La signature est de la forme SHA-1 d'avant 2018 : recevable, mais SHA-1 ne protège plus d'un faux fait "
            "exprès. Signez en SHA-256 dès que possible.",
        )


# --- Checks 5 and 6: references and transforms ----------------------------------------------------------------


def _check_references(reading: _Reading, info: etree._Element, properties: etree._Element) -> None:
    references = list(info.iterchildren(f"{_DS}Reference"))
    on_properties = [reference for reference in references if reference.get("Type") in PROPERTIES_TYPES]
    on_content = [reference for reference in references if reference.get("Type") not in PROPERTIES_TYPES]
    if len(on_properties) != 1 or len(on_content) != 1 or len(info) != 4:
        raise _RefusedError(
            checks.REFERENCE, "La signature doit couvrir le contenu et ses propres propriétés, et rien d'autre."
        )
    _check_target(reading, on_content[0].get("URI"))
    properties_id = properties.get("Id", "")
    if not properties_id or on_properties[0].get("URI") != f"#{properties_id}":
        raise _RefusedError(checks.REFERENCE, "La signature ne désigne pas ses propres propriétés.")
    reading.ids.append(properties_id)
    _check_transforms(on_content[0], is_enveloped=True)
    _check_transforms(on_properties[0], is_enveloped=False)
    for check, reference in ((checks.CONTENT, on_content[0]), (checks.PROPERTIES, on_properties[0])):
        expected = _base64(_child_text(reference, f"{_DS}DigestValue"), check, "une empreinte")
        with_comments = _last_transform(reference).endswith("WithComments")
        reading.digests.append((check, DIGESTS[_algorithm(reference, f"{_DS}DigestMethod")], expected, with_comments))


def _check_target(reading: _Reading, uri: str | None) -> None:
    """Refuse a signature of anything but the element that contains it (wrapping)."""
    element_id = reading.known.element_id
    if element_id and uri == f"#{element_id}":
        reading.ids.append(element_id)
    elif not (reading.is_global and uri == ""):  # 5.7.2: an empty reference means the root
        raise _RefusedError(
            checks.REFERENCE,
            f"La signature désigne « {'' if uri is None else uri[:200]} » et non l'élément qui la contient"
            f"{f' (« #{element_id} »)' if element_id else ''} : ce qui est signé n'est pas ce qui serait lu.",
        )


def _check_transforms(reference: etree._Element, *, is_enveloped: bool) -> None:
    transforms = [one for holder in reference.iterchildren(f"{_DS}Transforms") for one in holder]
    names = [one.get("Algorithm", "") for one in transforms]
    expected = [ENVELOPED] if is_enveloped else []
    is_plain = all(one.tag == f"{_DS}Transform" and len(one) == 0 for one in transforms)
    if names[:-1] != expected or CANONICALISATIONS.isdisjoint(names[-1:]) or not is_plain:
        strange = next((name for name in names if name != ENVELOPED and name not in CANONICALISATIONS), "")
        raise _RefusedError(
            checks.TRANSFORMS,
            "Les transformations d'une référence ne sont pas celles d'un PES"
            f"{f' : « {strange[:200]} » n’est pas admise' if strange else ''}.",
        )


def _last_transform(reference: etree._Element) -> str:
    (holder,) = reference.iterchildren(f"{_DS}Transforms")
    return holder[-1].get("Algorithm", "")


# --- Checks 7, 15 and 16: what the signatory states ------------------------------------------------------------


def _read_stated(reading: _Reading, properties: etree._Element) -> None:
    text = (properties.findtext("{*}SignedSignatureProperties/{*}SigningTime") or "").strip()
    if not text:
        raise _RefusedError(checks.TIME, "La signature ne dit pas quand elle a été faite (SigningTime).")
    try:
        signing_time = datetime.fromisoformat(text)
    except ValueError:
        raise _RefusedError(checks.TIME, f"La date de signature « {text[:50]} » n'est pas lisible.") from None
    if signing_time.utcoffset() != timedelta(0):
        raise _RefusedError(
            checks.TIME, f"La date de signature « {text} » n'est pas en temps universel (UTC, terminée par « Z »)."
        )
    role = " ".join((properties.findtext(".//{*}ClaimedRole") or "").split())
    reading.know(signing_time=signing_time.astimezone(UTC), claimed_role=role[:200])
    if not role:
        reading.say(checks.ROLE, "La signature ne dit pas à quel titre elle est donnée (ClaimedRole).")
    _read_policy(reading, properties)


def _read_policy(reading: _Reading, properties: etree._Element) -> None:
    policy = properties.find("{*}SignedSignatureProperties/{*}SignaturePolicyIdentifier/{*}SignaturePolicyId")
    if policy is None:
        reading.say(checks.POLICY, "La signature ne désigne aucune politique de signature.")
        return
    identifier = (policy.findtext("{*}SigPolicyId/{*}Identifier") or "").strip()
    # A genuine signature carries the digest without its padding (5.5).
    digest = (policy.findtext("{*}SigPolicyHash/{*}DigestValue") or "").strip().rstrip("=")
    reading.know(policy=identifier[:200])
    if identifier not in KNOWN_POLICIES:
        reading.say(checks.POLICY, f"La politique de signature « {identifier[:100]} » n'est pas connue.")
    elif digest not in KNOWN_POLICIES[identifier]:
        reading.say(
            checks.POLICY,
            f"L'empreinte de la politique de signature « {identifier} » n'est aucune de celles que l'on connaît.",
        )


# --- Checks 8, 9 and 17: the certificate -----------------------------------------------------------------------


@lru_cache(maxsize=512)
def _load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _certificate(reading: _Reading, properties: etree._Element) -> x509.Certificate:
    texts = [
        element.text for element in reading.signature.iterfind(f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate")
    ]
    try:
        held = [_load(_base64(text, checks.CERTIFICATE, "le certificat joint")) for text in texts]
    except ValueError as error:
        raise _RefusedError(
            checks.CERTIFICATE, f"Le certificat joint à la signature est illisible ({error})."
        ) from error
    cert = properties.find("{*}SignedSignatureProperties/{*}SigningCertificate/{*}Cert")
    if cert is None:
        if len(held) != 1:
            raise _RefusedError(
                checks.CERTIFICATE, f"La signature contient {len(held)} certificats et n'en désigne aucun."
            )
        reading.say(checks.CERTIFICATE, "Les propriétés signées ne désignent pas le certificat.", "warning")
        return held[0]
    named = [one for one in dict.fromkeys(held) if _is_named(one, cert)]
    if len(named) != 1:
        raise _RefusedError(
            checks.CERTIFICATE,
            "La signature ne contient pas le certificat que désignent ses propriétés (SigningCertificate).",
        )
    reading.know(intermediates=tuple(one for one in held if one != named[0]))
    _check_issuer_name(reading, named[0], cert)
    return named[0]


def _is_named(certificate: x509.Certificate, cert: etree._Element) -> bool:
    """Tell whether SigningCertificate names this one, by its digest and its serial number."""
    method = cert.find("{*}CertDigest/{*}DigestMethod")
    digest = DIGESTS.get("" if method is None else method.get("Algorithm", ""))
    if digest is None:
        return False
    expected = _base64(cert.findtext("{*}CertDigest/{*}DigestValue"), checks.CERTIFICATE, "l'empreinte du certificat")
    serial = (cert.findtext("{*}IssuerSerial/{*}X509SerialNumber") or "").strip()
    actual = hashlib.new(digest, certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return actual == expected and serial == str(certificate.serial_number)


def _check_issuer_name(reading: _Reading, certificate: x509.Certificate, cert: etree._Element) -> None:
    written = cert.findtext("{*}IssuerSerial/{*}X509IssuerName") or ""
    issuer = certificate.issuer
    if _without_spaces(written) not in {_without_spaces(rfc2253(issuer)), _without_spaces(issuer.rfc4514_string())}:
        reading.say(
            checks.ISSUER_NAME,
            f"La signature nomme l'autorité « {written.strip()[:200]} », le certificat « {rfc2253(issuer)[:200]} » : "
            "l'empreinte et le numéro du certificat concordent.",
        )


def _without_spaces(name: str) -> str:
    return "".join(name.split()).casefold()


def _check_key(reading: _Reading, certificate: x509.Certificate) -> None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _RefusedError(checks.KEY, f"La clé du certificat est illisible ({error}).") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise _RefusedError(
            checks.KEY, f"La clé RSA du certificat n'a que {key.key_size} bits : {RSA_BITS_MIN} au moins sont exigés."
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, CURVES):
        raise _RefusedError(checks.KEY, f"La courbe « {key.curve.name} » de la clé du certificat n'est pas admise.")
    expected = {"rsa": rsa.RSAPublicKey, "ecdsa": ec.EllipticCurvePublicKey}
    if reading.method is not None and not isinstance(key, expected[reading.method.family]):
        raise _RefusedError(
            checks.KEY,
            f"La signature se dit {reading.method.family.upper()}, et la clé du certificat n'en est pas une.",
        )


def _check_key_values(reading: _Reading, certificate: x509.Certificate) -> None:
    """Refuse a key beside the certificate: other programs might verify with that one."""
    allowed = {f"{_DS}X509Data", f"{_DS}KeyName"}
    others = [one for key_info in reading.signature.iterchildren(f"{_DS}KeyInfo") for one in key_info]
    for other in others:
        if other.tag not in allowed and not _is_same_key(other, certificate):
            raise _RefusedError(
                checks.KEY,
                f"La signature joint une autre clé que celle du certificat ({etree.QName(other).localname}).",
            )


def _is_same_key(key_value: etree._Element, certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    held = key_value.find(f"{_DS}RSAKeyValue")
    if (
        key_value.tag != f"{_DS}KeyValue"
        or held is None
        or len(key_value) != 1
        or not isinstance(key, rsa.RSAPublicKey)
    ):
        return False
    numbers = key.public_numbers()
    said = [
        int.from_bytes(_base64(held.findtext(f"{_DS}{name}"), checks.KEY, "la clé jointe"), "big")
        for name in ("Modulus", "Exponent")
    ]
    return said == [numbers.n, numbers.e]


# --- Checks 10 to 13: digests and value ------------------------------------------------------------------------


def _check_values(reading: _Reading, *, has_comments: bool) -> None:
    """Compute what was read: the digest of the content, of the properties, and the value."""
    if reading.is_refused or reading.parent is None or reading.properties is None or reading.method is None:
        return
    (content, properties) = reading.digests
    if has_comments:
        _check_comments(reading)
    _check_digest(reading, properties, canonical(reading.properties, with_comments=properties[3]))
    with _taken_out(reading.signature):
        _check_digest(reading, content, canonical(reading.parent, with_comments=content[3]))
    _check_value(reading)


def _check_digest(reading: _Reading, expected: tuple[Check, str, bytes, bool], octets: bytes) -> None:
    check, digest, value, _ = expected
    if hashlib.new(digest, octets, usedforsecurity=False).digest() == value:
        return
    what = "Le contenu signé a été modifié" if check is checks.CONTENT else "Les propriétés signées ont été modifiées"
    reading.say(check, f"{what} depuis la signature (empreinte différente).")


def _check_value(reading: _Reading) -> None:
    certificate, method = reading.known.certificate, reading.method
    if certificate is None or method is None:
        return
    key = certificate.public_key()
    algorithm = _HASHES[method.digest]
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(reading.value, reading.signed_info, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(_der_of(reading.value, key), reading.signed_info, ec.ECDSA(algorithm))
    except InvalidSignature:
        reading.say(
            checks.VALUE,
            "La valeur de la signature n'est pas celle du certificat joint : elle a été altérée, ou faite avec une "
            "autre clé.",
        )


def _der_of(value: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return as DER what XMLDSig (6.4.3) writes as two numbers, each as long as the curve's."""
    half = (key.key_size + 7) // 8
    if len(value) != 2 * half:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))


_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # the form of before 2018, reported as such (5.4)
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def _check_comments(reading: _Reading) -> None:
    """Say that a comment cuts a text in two: one program reads the whole, another only the beginning.

    A PES holds its values in attributes, so nothing that DGFiP reads can change that way: it is worth a warning.
    """
    if reading.parent is None or reading.digests[0][3]:
        return  # canonicalised with its comments: they are signed
    for comment in reading.parent.iter(etree.Comment):
        holder = comment.getparent()
        before = comment.getprevious()
        text = before.tail if before is not None else None if holder is None else holder.text
        if (text or "").strip() or (comment.tail or "").strip():
            reading.say(
                checks.COMMENT,
                f"Un commentaire coupe un texte signé (ligne {comment.sourceline}) : la signature ne le protège pas, "
                "il a pu être ajouté après elle.",
            )
            return


@contextmanager
def _taken_out(signature: etree._Element) -> Iterator[None]:
    """Take a signature out of its parent, as "enveloped" does: the text after it stays where it was."""
    parent, before, tail = signature.getparent(), signature.getprevious(), signature.tail
    if parent is None:
        raise ValueError("a signature without parent signs nothing")
    position = parent.index(signature)
    holder, name = (parent, "text") if before is None else (before, "tail")
    text = getattr(holder, name)
    parent.remove(signature)  # lxml takes the text after it away too
    if tail:
        setattr(holder, name, (text or "") + tail)
    try:
        yield
    finally:
        setattr(holder, name, text)
        signature.tail = tail
        parent.insert(position, signature)


# --- Check 22: coverage, and the family of the document ----------------------------------------------------------


def _classify(root: etree._Element) -> tuple[Classification, tuple[Finding, ...]]:
    """Say how the document is signed as a whole (5.7), and what lacks a signature."""
    bordereaux = [one for domain in root if domain.tag in _DOMAINS for one in domain.iterchildren("Bordereau")]
    unsigned = [one for one in bordereaux if next(one.iterchildren(_SIGNATURE), None) is None]
    is_global = next(root.iterchildren(_SIGNATURE), None) is not None
    is_any_signed = len(unsigned) < len(bordereaux)
    if is_global:
        stated = {
            one.get("V", "")
            for name in ("EnTeteDepense", "EnTeteRecette")
            for one in root.iterfind(f"*/{name}/InfoDematerialisee")
        }
        is_business = stated == {"1"} and not is_any_signed
        return Classification.GLOBAL_BUSINESS if is_business else Classification.GLOBAL_TECHNICAL, ()
    if not is_any_signed:
        return Classification.UNSIGNED, ()
    if not unsigned:
        return Classification.BORDEREAUX, ()
    ids = [one.get("Id", "") or f"ligne {one.sourceline}" for one in unsigned]
    named = ", ".join(ids[:10]) + ("…" if len(ids) > 10 else "")
    message = f"{len(unsigned)} bordereau(x) sur {len(bordereaux)} ne sont pas signés : {named}."
    return Classification.INCOMPLETE, (checks.COVERAGE.finding("", message),)


# --- Reading ---------------------------------------------------------------------------------------------------


def _algorithm(element: etree._Element, tag: str) -> str:
    found = next(element.iterchildren(tag), None)
    return "" if found is None else found.get("Algorithm", "")


def _child_text(element: etree._Element, tag: str) -> str | None:
    found = next(element.iterchildren(tag), None)
    return None if found is None else found.text


def _base64(text: str | None, check: Check, what: str) -> bytes:
    """Decode base64, however it is cut into lines (a stray newline has broken verifiers: section 12, #714)."""
    if text is None or not _BASE64.fullmatch(text):
        raise _RefusedError(check, f"La signature est illisible : {what} n'est pas du base64.")
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise _RefusedError(check, f"La signature est illisible : {what} n'est pas du base64.") from None

"""Reads the form of one signature: checks 1, 3 to 9 and 14 to 17 of `signing.checks`.

What comes out is everything that its digests and its value must be compared with. Nothing is looked up in the
document: the content of a signature is its parent, its properties are its own. Clauses are those of ``helios.md``,
section 5.
"""

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from pes.vocabulary import Finding, Severity
from signing import checks
from signing.algorithms import (
    CANONICALISATIONS,
    DIGESTS,
    DS,
    ENVELOPED,
    KNOWN_POLICIES,
    PROPERTIES_TYPES,
    SIGNATURE_METHODS,
    XADES_VERSIONS,
    Method,
)
from signing.certificates import CertificateUnreadableError, key_fault, read_der, rfc2253, whole_name
from signing.checks import Check
from signing.outline import BORDEREAU, DOMAINS, PLAIN_ID, UnsignableError
from signing.report import SignatureReport
from signing.xades import canonical

_DS: Final = f"{{{DS}}}"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
# xs:dateTime in UTC, with its seconds; Python reads more than that.
_UTC_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")


@dataclass(frozen=True)
class Expected:
    """What one reference says that a digest must be."""

    digest: str
    value: bytes
    with_comments: bool


@dataclass
class Reading:
    """One signature while it is being read: what is known of it, and what was found."""

    signature: etree._Element
    parent: etree._Element | None
    findings: list[Finding] = field(default_factory=list)
    known: SignatureReport = field(default_factory=SignatureReport)
    ids: list[str] = field(default_factory=list)
    signed_info: bytes = b""
    method: Method | None = None
    value: bytes = b""
    properties: etree._Element | None = None
    of_content: Expected | None = None
    of_properties: Expected | None = None

    @property
    def is_global(self) -> bool:
        """True when the root carries it."""
        return self.parent is not None and self.parent.getparent() is None

    @property
    def is_refused(self) -> bool:
        """True when something blocking was found."""
        return any(finding.severity == "blocking" for finding in self.findings)

    def say(self, check: Check, message: str, severity: Severity | None = None) -> None:
        """Note what was found."""
        line = self.signature.sourceline
        self.findings.append(check.finding(self.known.element_id, message, severity=severity, line=line))

    def know(self, **values: object) -> None:
        """Note what is known for the report."""
        self.known = replace(self.known, **values)  # type: ignore[arg-type]  # each name is a field of the report

    def report(self) -> SignatureReport:
        """Return what there is to say of this signature, in the order of the checks."""
        return replace(self.known, findings=tuple(checks.in_order(self.findings)))


class FormError(Exception):
    """Why one signature does not hold; nothing that follows makes sense any more."""

    def __init__(self, check: Check, message: str) -> None:
        super().__init__(message)
        self.check = check


@contextmanager
def refusing(reading: Reading) -> Iterator[None]:
    """Turn a refusal into a finding of this signature."""
    try:
        yield
    except FormError as refused:
        reading.say(refused.check, str(refused))
    except UnsignableError as error:  # something that cannot be canonicalised
        reading.say(checks.STRUCTURE, str(error))


def read_form(signature: etree._Element, siblings: int) -> Reading:
    """Read one signature.

    Args:
        signature: a ds:Signature, wherever it lies.
        siblings: how many signatures its parent holds.
    """
    reading = Reading(signature, signature.getparent())
    reading.know(signature_id=signature.get("Id", ""), is_global=reading.is_global)
    if reading.parent is not None:
        reading.know(element_id=reading.parent.get("Id", ""))
    with refusing(reading):
        _check_placement(reading, siblings)
        info, value, properties = _structure(reading)
        reading.properties = properties
        stated = _signed_signature_properties(properties)
        _read_stated(reading, stated)
        _check_algorithms(reading, info, properties)
        _check_references(reading, info, properties)
        certificate = _certificate(reading, stated)
        reading.know(certificate=certificate, signer=whole_name(certificate.subject))
        _check_key(reading, certificate)
        _check_key_values(reading, certificate)
        reading.value = _base64(value.text, checks.VALUE, "sa valeur")
        reading.signed_info = canonical(info)
    return reading


# --- Check 1: placement ----------------------------------------------------------------------------------------


def _check_placement(reading: Reading, siblings: int) -> None:
    parent = reading.parent
    if parent is None:
        raise FormError(checks.PLACEMENT, "La signature est elle-même la racine du fichier : elle ne signe rien.")
    if not reading.is_global and not _is_bordereau(parent):
        raise FormError(
            checks.PLACEMENT,
            f"La signature est placée dans « {etree.QName(parent).localname} » : elle n’est admise qu’à la racine, "
            "ou dans un bordereau de dépense ou de recette.",
        )
    # PESSignatureType allows one; "enveloped" removes only itself, so a second one breaks the first.
    if siblings != 1:
        raise FormError(checks.PLACEMENT, "L’élément porte plusieurs signatures ; une seule est admise.")


def _is_bordereau(element: etree._Element) -> bool:
    domain = element.getparent()
    if element.tag != BORDEREAU or domain is None or domain.tag not in DOMAINS:
        return False
    root = domain.getparent()
    return root is not None and root.getparent() is None


# --- Check 3: structure ----------------------------------------------------------------------------------------

# XMLDSig's schema, as far as a PES's signature goes: for each element its attributes, and its children in order
# (their names, each after a space). What has a text holds nothing else. "*" is an element of another namespace.
_ELEMENTS: Final[dict[str, tuple[frozenset[str], re.Pattern[str]]]] = {
    name: (frozenset(attributes.split()), re.compile(children))
    for name, attributes, children in (
        ("Signature", "Id", "( SignedInfo)( SignatureValue)( KeyInfo)?( Object)*"),
        ("SignedInfo", "Id", "( CanonicalizationMethod)( SignatureMethod)( Reference)+"),
        ("CanonicalizationMethod", "Algorithm", ""),
        ("SignatureMethod", "Algorithm", ""),
        ("Reference", "Id URI Type", "( Transforms)?( DigestMethod)( DigestValue)"),
        ("Transforms", "", "( Transform)+"),
        ("Transform", "Algorithm", "( XPath| \\*)*"),  # refused further on, with a clearer sentence
        ("DigestMethod", "Algorithm", ""),
        ("KeyInfo", "Id", "( KeyName| KeyValue| X509Data)+"),
        ("KeyValue", "", "( RSAKeyValue)"),
        ("RSAKeyValue", "", "( Modulus)( Exponent)"),
        ("X509Data", "", "( X509IssuerSerial| X509SKI| X509SubjectName| X509Certificate| X509CRL)+"),
        ("X509IssuerSerial", "", "( X509IssuerName)( X509SerialNumber)"),
        ("Object", "Id MimeType Encoding", "( \\*)*"),
    )
}
_TEXTS: Final[dict[str, tuple[frozenset[str], re.Pattern[str]]]] = {
    "SignatureValue": (frozenset({"Id"}), re.compile(r"(?s).*")),
    "X509SerialNumber": (frozenset(), re.compile(r"\s*[+-]?\d+\s*")),
    **dict.fromkeys(("X509SKI", "X509CRL"), (frozenset[str](), _BASE64)),
    **dict.fromkeys(
        (
            "DigestValue",
            "KeyName",
            "Modulus",
            "Exponent",
            "X509Certificate",
            "X509IssuerName",
            "X509SubjectName",
            "XPath",
        ),
        (frozenset[str](), re.compile(r"(?s).*")),
    ),
}


def _structure(reading: Reading) -> tuple[etree._Element, etree._Element, etree._Element]:
    """Return SignedInfo, SignatureValue and the signature's own SignedProperties."""
    signature = reading.signature
    # A comment is outside the digests, yet it would cut in two the texts that are read below.
    if next(signature.iter(etree.Comment, etree.ProcessingInstruction, etree.Entity), None) is not None:
        raise FormError(checks.STRUCTURE, "La signature contient un commentaire, que rien ne protège.")
    for element in signature.iter(f"{_DS}*"):
        if not _is_in_properties(element, signature):
            _check_written(element)
        if element_id := element.get("Id"):
            reading.ids.append(element_id)
    if not reading.known.signature_id:
        raise FormError(checks.IDENTIFIERS, "La signature n’a pas d’Id : ses propriétés ne peuvent la désigner.")
    return signature[0], signature[1], _signed_properties(signature)


def _is_in_properties(element: etree._Element, signature: etree._Element) -> bool:
    """Say whether an element of XMLDSig stands in the XAdES properties, which have a schema of their own."""
    parent = element.getparent()
    return element is not signature and parent is not None and not str(parent.tag).startswith(_DS)


def _check_written(element: etree._Element) -> None:
    """Refuse what XMLDSig's schema does not have: other programs would not read it as we do."""
    name = str(element.tag).removeprefix(_DS)
    attributes, shape = _ELEMENTS.get(name) or _TEXTS.get(name) or (frozenset[str](), None)
    if name in _TEXTS:
        is_good = shape is not None and len(element) == 0 and shape.fullmatch(element.text or "") is not None
    else:
        children = "".join(f" {_name(child)}" for child in element)
        texts = [element.text, *(child.tail for child in element)]
        has_text = name != "Object" and any((text or "").strip() for text in texts)
        is_good = shape is not None and not has_text and shape.fullmatch(children) is not None
    is_named_well = PLAIN_ID.fullmatch(element.get("Id", "_")) is not None
    if not is_good or not is_named_well or not attributes.issuperset(element.attrib):
        raise FormError(
            checks.STRUCTURE, f"L’élément « {name[:100]} » de la signature n’est pas écrit comme le veut XMLDSig."
        )


def _name(child: etree._Element) -> str:
    name = str(child.tag)
    return name.removeprefix(_DS) if name.startswith(_DS) else "*"


def _signed_properties(signature: etree._Element) -> etree._Element:
    """Return the signature's own SignedProperties: everything we report is read in there, nowhere else."""
    held = [child for one in signature.iterchildren(f"{_DS}Object") for child in one]
    qualifying = {f"{{{namespace}}}QualifyingProperties": namespace for namespace in XADES_VERSIONS}
    if any(child.tag not in qualifying for child in held):
        raise FormError(
            checks.STRUCTURE,
            "Un Object de la signature contient autre chose que des propriétés XAdES 1.1.1 ou 1.2.2.",
        )
    found = [
        properties
        for child in held
        for properties in child.iterchildren(f"{{{qualifying[str(child.tag)]}}}SignedProperties")
    ]
    if len(held) != 1 or len(found) != 1:
        raise FormError(
            checks.STRUCTURE, "Les propriétés XAdES 1.1.1 ou 1.2.2 sont absentes, ou en plusieurs exemplaires."
        )
    texts = [held[0].text, *(child.tail for child in held[0])]
    if any((text or "").strip() for text in texts):
        raise FormError(checks.STRUCTURE, "Un texte se trouve entre les propriétés XAdES : rien ne le protège.")
    # STELA's Target lacks the "#" (5.6).
    if held[0].get("Target", "").removeprefix("#") != signature.get("Id"):
        raise FormError(checks.STRUCTURE, "Les propriétés XAdES jointes sont celles d’une autre signature.")
    return found[0]


_STATED: Final = (
    "SigningTime",
    "SigningCertificate",
    "SignaturePolicyIdentifier",
    "SignatureProductionPlace",
    "SignerRole",
)


def _signed_signature_properties(properties: etree._Element) -> etree._Element:
    """Return what the signatory states: each thing once, in the namespace of the properties, and nothing else.

    Of two signing times, one program would read the first, another the last.
    """
    namespace = etree.QName(properties).namespace
    first = f"{{{namespace}}}SignedSignatureProperties"
    names = [child.tag for child in properties]
    if names[:1] != [first] or names[1:] not in ([], [f"{{{namespace}}}SignedDataObjectProperties"]):
        raise FormError(checks.STRUCTURE, "Les propriétés signées n’ont pas la forme prévue par XAdES.")
    known = {f"{{{namespace}}}{name}" for name in _STATED}
    stated = [child.tag for child in properties[0]]
    if len(set(stated)) < len(stated) or not known.issuperset(stated):
        raise FormError(
            checks.STRUCTURE, "Une propriété signée est donnée deux fois, ou n’est pas de celles que prévoit XAdES."
        )
    return properties[0]


# --- Check 4: algorithms ---------------------------------------------------------------------------------------


def _check_algorithms(reading: Reading, info: etree._Element, properties: etree._Element) -> None:
    canonicalisation = info[0].get("Algorithm", "")
    if canonicalisation not in CANONICALISATIONS:
        raise FormError(
            checks.ALGORITHM,
            f"La canonicalisation « {canonicalisation[:200]} » n’est pas admise : seule l’exclusive l’est.",
        )
    name = info[1].get("Algorithm", "")
    reading.method = SIGNATURE_METHODS.get(name)
    if reading.method is None:
        raise FormError(
            checks.ALGORITHM,
            f"L’algorithme de signature « {name[:200]} » n’est pas admis : RSA ou ECDSA, avec SHA-2.",
        )
    digests = [_digest_method(reference) for reference in info.iterchildren(f"{_DS}Reference")]
    for digest in digests:
        if digest not in DIGESTS:
            raise FormError(checks.ALGORITHM, f"L’algorithme d’empreinte « {digest[:200]} » n’est pas admis : SHA-2.")
    is_weak = "sha1" in {reading.method.digest, *(DIGESTS[digest] for digest in digests)}
    version = XADES_VERSIONS[etree.QName(properties).namespace or ""]
    reading.know(form=f"xades-env-{version}-{'sha1' if is_weak else reading.method.digest}")
    if is_weak:
        reading.say(
            checks.SHA1_ERA,
            "La signature est de la forme SHA-1 d’avant 2018 : recevable, mais SHA-1 ne protège plus d’un faux fait "
            "exprès. Signez en SHA-256 dès que possible.",
        )


def _digest_method(reference: etree._Element) -> str:
    return reference[-2].get("Algorithm", "")


# --- Checks 5 and 6: references and transforms -----------------------------------------------------------------


def _check_references(reading: Reading, info: etree._Element, properties: etree._Element) -> None:
    references = list(info.iterchildren(f"{_DS}Reference"))
    on_properties = [reference for reference in references if reference.get("Type") in PROPERTIES_TYPES]
    on_content = [reference for reference in references if reference.get("Type") not in PROPERTIES_TYPES]
    if len(on_properties) != 1 or len(on_content) != 1:
        raise FormError(
            checks.REFERENCE, "La signature doit couvrir le contenu et ses propres propriétés, et rien d’autre."
        )
    _check_target(reading, on_content[0].get("URI"))
    properties_id = properties.get("Id", "")
    if not properties_id or on_properties[0].get("URI") != f"#{properties_id}":
        raise FormError(checks.REFERENCE, "La signature ne désigne pas ses propres propriétés.")
    reading.ids.append(properties_id)
    reading.of_content = _expected(on_content[0], checks.CONTENT, is_enveloped=True)
    reading.of_properties = _expected(on_properties[0], checks.PROPERTIES, is_enveloped=False)


def _check_target(reading: Reading, uri: str | None) -> None:
    """Refuse a signature of anything but the element that contains it (wrapping)."""
    element_id = reading.known.element_id
    if element_id and uri == f"#{element_id}":
        reading.ids.append(element_id)
    elif not (reading.is_global and uri == ""):  # 5.7.2: an empty reference means the root
        raise FormError(
            checks.REFERENCE,
            f"La signature désigne « {'' if uri is None else uri[:200]} » et non l’élément qui la contient"
            f"{f' (« #{element_id} »)' if element_id else ''} : ce qui est signé n’est pas ce qui serait lu.",
        )


def _expected(reference: etree._Element, check: Check, *, is_enveloped: bool) -> Expected:
    transforms = list(reference[0]) if len(reference) == 3 else []
    names = [one.get("Algorithm", "") for one in transforms]
    expected = [ENVELOPED] if is_enveloped else []
    is_plain = all(len(one) == 0 for one in transforms)
    if names[:-1] != expected or CANONICALISATIONS.isdisjoint(names[-1:]) or not is_plain:
        strange = next((name for name in names if name != ENVELOPED and name not in CANONICALISATIONS), "")
        raise FormError(
            checks.TRANSFORMS,
            "Les transformations d’une référence ne sont pas celles d’un PES"
            f"{f' : « {strange[:200]} » n’est pas admise' if strange else ''}.",
        )
    value = _base64(reference[-1].text, check, "une empreinte")
    return Expected(DIGESTS[_digest_method(reference)], value, names[-1].endswith("WithComments"))


# --- Checks 7, 15 and 16: what the signatory states ------------------------------------------------------------


def _read_stated(reading: Reading, stated: etree._Element) -> None:
    text = (_text(stated, "SigningTime") or "").strip()
    if not text:
        raise FormError(checks.TIME, "La signature ne dit pas quand elle a été faite (SigningTime).")
    if not _UTC_TIME.fullmatch(text):
        raise FormError(
            checks.TIME,
            f"La date de signature « {text[:50]} » n’est pas écrite en temps universel (AAAA-MM-JJThh:mm:ssZ).",
        )
    try:
        signing_time = datetime.fromisoformat(text)
    except ValueError:
        raise FormError(checks.TIME, f"La date de signature « {text[:50]} » n’existe pas.") from None
    role = " ".join((_text(stated, "SignerRole", "ClaimedRoles", "ClaimedRole") or "").split())
    reading.know(signing_time=signing_time.astimezone(UTC), claimed_role=role[:200])
    if not role:
        reading.say(checks.ROLE, "La signature ne dit pas à quel titre elle est donnée (ClaimedRole).")
    _read_policy(reading, stated)


def _read_policy(reading: Reading, stated: etree._Element) -> None:
    policy = _child(stated, "SignaturePolicyIdentifier", "SignaturePolicyId")
    if policy is None:
        reading.say(checks.POLICY, "La signature ne désigne aucune politique de signature.")
        return
    identifier = (_text(policy, "SigPolicyId", "Identifier") or "").strip()
    # A genuine signature carries the digest without its padding (5.5); its elements may be of either namespace (5.3).
    digest = (policy.findtext("{*}SigPolicyHash/{*}DigestValue") or "").strip().rstrip("=")
    reading.know(policy=identifier[:200])
    if identifier not in KNOWN_POLICIES:
        reading.say(checks.POLICY, f"La politique de signature « {identifier[:100]} » n’est pas connue.")
    elif digest not in KNOWN_POLICIES[identifier]:
        reading.say(
            checks.POLICY,
            f"L’empreinte de la politique de signature « {identifier} » n’est aucune de celles que l’on connaît.",
        )


# --- Checks 8, 9 and 17: the certificate -----------------------------------------------------------------------


def _certificate(reading: Reading, stated: etree._Element) -> x509.Certificate:
    found = reading.signature.iterfind(f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate")
    try:
        held = [read_der(_base64(one.text, checks.CERTIFICATE, "le certificat joint")) for one in found]
    except CertificateUnreadableError as error:
        raise FormError(checks.CERTIFICATE, f"Le certificat joint est illisible ({error}).") from error
    named_by = list(stated.iterfind("{*}SigningCertificate/{*}Cert"))
    if not named_by:
        if len(held) != 1:
            raise FormError(
                checks.CERTIFICATE, f"La signature contient {len(held)} certificats et n’en désigne aucun."
            )
        reading.say(checks.CERTIFICATE, "Les propriétés signées ne désignent pas le certificat.", "warning")
        return held[0]
    named = [one for one in dict.fromkeys(held) if _is_named(one, named_by[0])]
    if len(named) != 1:
        raise FormError(
            checks.CERTIFICATE,
            "La signature ne contient pas le certificat que désignent ses propriétés (SigningCertificate).",
        )
    reading.know(intermediates=tuple(one for one in held if one != named[0]))
    _check_issuer_name(reading, named[0], named_by[0])
    return named[0]


def _is_named(certificate: x509.Certificate, cert: etree._Element) -> bool:
    """Tell whether SigningCertificate names this one, by its digest and its serial number."""
    method = cert.find("{*}CertDigest/{*}DigestMethod")
    digest = DIGESTS.get("" if method is None else method.get("Algorithm", ""))
    if digest is None:
        return False
    expected = _base64(cert.findtext("{*}CertDigest/{*}DigestValue"), checks.CERTIFICATE, "l’empreinte du certificat")
    serial = (cert.findtext("{*}IssuerSerial/{*}X509SerialNumber") or "").strip()
    actual = hashlib.new(digest, certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return actual == expected and serial == str(certificate.serial_number)


def _check_issuer_name(reading: Reading, certificate: x509.Certificate, cert: etree._Element) -> None:
    written = cert.findtext("{*}IssuerSerial/{*}X509IssuerName") or ""
    issuer = certificate.issuer
    ways = (rfc2253(issuer), issuer.rfc4514_string(), whole_name(issuer))
    if _without_spaces(written) not in map(_without_spaces, ways):
        reading.say(
            checks.ISSUER_NAME,
            f"La signature nomme l’autorité « {written.strip()[:200]} », le certificat « {whole_name(issuer)[:200]} »"
            " : l’empreinte et le numéro du certificat concordent.",
        )


def _without_spaces(name: str) -> str:
    return "".join(name.split()).casefold()


def _check_key(reading: Reading, certificate: x509.Certificate) -> None:
    if fault := key_fault(certificate):
        raise FormError(checks.KEY, fault)
    key = certificate.public_key()
    expected = {"rsa": rsa.RSAPublicKey, "ecdsa": ec.EllipticCurvePublicKey}
    if reading.method is not None and not isinstance(key, expected[reading.method.family]):
        raise FormError(
            checks.KEY,
            f"La signature se dit {reading.method.family.upper()}, et la clé du certificat n’en est pas une.",
        )


def _check_key_values(reading: Reading, certificate: x509.Certificate) -> None:
    """Refuse a key beside the certificate: other programs might verify with that one."""
    key = certificate.public_key()
    for held in reading.signature.iterfind(f"{_DS}KeyInfo/{_DS}KeyValue/{_DS}RSAKeyValue"):
        said = [int.from_bytes(_base64(one.text, checks.KEY, "la clé jointe"), "big") for one in held]
        numbers = key.public_numbers() if isinstance(key, rsa.RSAPublicKey) else None
        if numbers is None or said != [numbers.n, numbers.e]:
            raise FormError(checks.KEY, "La signature joint une autre clé que celle du certificat (RSAKeyValue).")


# --- Reading ---------------------------------------------------------------------------------------------------


def _child(element: etree._Element, *names: str) -> etree._Element | None:
    """Return what these names lead to, in the namespace of the element; the first of each."""
    namespace = etree.QName(element).namespace
    return element.find("/".join(f"{{{namespace}}}{name}" for name in names))


def _text(element: etree._Element, *names: str) -> str | None:
    found = _child(element, *names)
    return None if found is None else found.text


def _base64(text: str | None, check: Check, what: str) -> bytes:
    """Decode base64, however it is cut into lines (a stray newline has broken verifiers: section 12, #714)."""
    if text is None or not _BASE64.fullmatch(text):
        raise FormError(check, f"La signature est illisible : {what} n’est pas du base64.")
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise FormError(check, f"La signature est illisible : {what} n’est pas du base64.") from None

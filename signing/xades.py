"""Signs a PES Aller in the XAdES 1.2.2 enveloped form, by inserting bytes.

A document that is parsed and written again is not the document that was given to us, and every signature
already in it may break. So nothing here serialises a document: ``outline`` says at which byte each signed element
ends, lxml canonicalises what is digested, and the signatures are spliced in between untouched slices.

Signing takes three steps, because the key may be on the signatory's own computer:

    targets    what must be signed in this document (which elements, ending at which byte)
    prepare    for each of them, the exact bytes that the key must sign
    complete   the document, with one signature inserted per signature value

Clauses are those of ``docs/helios.md``, section 5.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from pes.reading import xml
from signing.algorithms import (
    DS,
    ENVELOPED,
    EXC_C14N,
    POLICY,
    POLICY_DESCRIPTION,
    POLICY_LOCATION,
    POLICY_SHA256,
    RSA_SHA256,
    SHA1,
    SHA256,
    XADES,
)
from signing.certificates import rfc2253
from signing.outline import BORDEREAU, Outline, Target, UnsignableError, read_outline, unsigned_of


@dataclass(frozen=True)
class Stated:
    """What the signatory states: the role, and where the signature is given."""

    role: str
    city: str
    postal_code: str
    country: str = "France"


class Key(Protocol):
    """A private key that signs, wherever it is, and its certificate. The key itself need not be here."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""

    def sign(self, to_sign: bytes) -> bytes:
        """Return the signature value of bytes: RSA PKCS#1 v1.5, SHA-256."""


@dataclass(frozen=True)
class Prepared:
    """One signature without its value. ``to_sign`` is what the key signs (RSA PKCS#1 v1.5, SHA-256)."""

    element_id: str
    offset: int
    to_sign: bytes
    before_value: bytes
    after_value: bytes

    @property
    def to_sign_base64(self) -> str:
        """What the key signs, as it travels."""
        return b64encode(self.to_sign).decode("ascii")

    @property
    def digest(self) -> str:
        """The SHA-256 of what the key signs, in hexadecimal, for a card that is given digests."""
        return hashlib.sha256(self.to_sign).hexdigest()


def prepare(
    document: bytes,
    chosen: Sequence[Target],
    *,
    certificate: x509.Certificate,
    signing_time: datetime,
    stated: Stated,
    outline: Outline | None = None,
) -> list[Prepared]:
    """Write each signature but for its value. The document is parsed once, whatever the number of targets.

    Args:
        document: the bytes that ``targets`` read; the offsets hold for no other.
        chosen: all the targets, or some of them.
        certificate: the signatory's, valid at ``signing_time``, with an RSA key.
        signing_time: aware; written in UTC, to the second.
        stated: written as they are, in any language.
        outline: of this document, if it was read already.

    Raises:
        UnsignableError: a target is already signed, or the certificate or what is stated cannot be used.
    """
    _check_certificate(certificate, signing_time)
    outline = outline or read_outline(document)
    elements = {element.get("Id"): element for element in outline.root.iter("{*}PES_Aller", BORDEREAU)}
    key_info = _key_info(certificate)
    properties = _signature_properties(certificate, signing_time, stated)
    prepared = []
    for target in chosen:
        _check_target(target, outline.ids)
        digest = _sha256(canonical(elements[target.element_id]))
        prepared.append(_prepare_one(target, digest, key_info, properties))
    return prepared


def complete(document: bytes, prepared: Sequence[Prepared], signature_values: Sequence[bytes]) -> bytes:
    """Insert the signatures, in one pass. Every byte of ``document`` stays, in its order.

    Args:
        document: the bytes that were prepared.
        prepared: what was signed; what is left out must be prepared again on the new bytes.
        signature_values: the raw value for each, in the same order; not checked here (see ``verification``).
    """
    pieces, position = [], 0
    pairs = zip(prepared, signature_values, strict=True)
    for one, value in sorted(pairs, key=lambda pair: pair[0].offset):
        pieces += [document[position : one.offset], one.before_value, b64encode(value), one.after_value]
        position = one.offset
    return b"".join([*pieces, document[position:]])


def sign(document: bytes, *, key: Key, signing_time: datetime, stated: Stated) -> bytes:
    """Sign all that is not signed yet, with a key at hand.

    Raises:
        UnsignableError: as ``targets`` and ``prepare``; or everything is signed already.
    """
    outline = read_outline(document)
    unsigned = unsigned_of(outline.targets)
    return sign_chosen(document, unsigned, key=key, signing_time=signing_time, stated=stated, outline=outline)


def sign_chosen(
    document: bytes,
    chosen: Sequence[Target],
    *,
    key: Key,
    signing_time: datetime,
    stated: Stated,
    outline: Outline | None = None,
) -> bytes:
    """Sign some targets, with a key at hand; see ``prepare`` and ``complete``."""
    prepared = prepare(
        document,
        chosen,
        certificate=key.certificate,
        signing_time=signing_time,
        stated=stated,
        outline=outline,
    )
    return complete(document, prepared, [key.sign(one.to_sign) for one in prepared])


def canonical(element: etree._Element, *, with_comments: bool = False) -> bytes:
    """Canonicalise one element (exclusive): its surroundings have no influence (5.3).

    Raises:
        UnsignableError: it uses a namespace that canonicalisation does not admit (a relative one).
    """
    try:
        return _canonical(element, with_comments=with_comments)
    except etree.C14NError as error:
        raise UnsignableError(
            "Le fichier déclare un espace de noms relatif, que la canonicalisation n’admet pas. "
            "Demandez la correction à l’éditeur du logiciel financier."
        ) from error


def _canonical(element: etree._Element, *, with_comments: bool) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=with_comments)


# --- What is written ---------------------------------------------------------------------------------------


def _check_certificate(certificate: x509.Certificate, signing_time: datetime) -> None:
    if signing_time.tzinfo is None:
        raise ValueError("signing_time must be aware")
    if not certificate.not_valid_before_utc <= signing_time <= certificate.not_valid_after_utc:
        raise UnsignableError(
            f"Le certificat de signature est valable du {certificate.not_valid_before_utc:%d/%m/%Y} "
            f"au {certificate.not_valid_after_utc:%d/%m/%Y} : il ne permet pas de signer "
            f"le {signing_time:%d/%m/%Y}. Choisissez un certificat en cours de validité."
        )
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise UnsignableError(
            "La clé du certificat de signature n’est pas une clé RSA, seule admise par Hélios. "
            "Choisissez un autre certificat."
        )


def _check_target(target: Target, ids: frozenset[str]) -> None:
    if target.is_signed:
        raise UnsignableError(f"« {target.element_id} » est déjà signé : une seconde signature romprait la première.")
    if target.element_id not in ids:
        raise ValueError(f"target {target.element_id!r} comes from another document")
    taken = ids & {_signature_id(target) + suffix for suffix in ("", "_SV", "_SP")}
    if taken:
        raise UnsignableError(
            f"L’Id « {min(taken)} », que doit porter la signature de « {target.element_id} », est déjà pris "
            "dans le fichier. Demandez à l’éditeur du logiciel financier de le changer."
        )


def _prepare_one(target: Target, digest: str, key_info: str, properties: str) -> Prepared:
    signature_id = _signature_id(target)
    # 5.3: XAdES is re-declared here, as xad and as the default, whatever the root declares.
    qualifying = (
        f'<xad:QualifyingProperties xmlns="{XADES}" xmlns:xad="{XADES}" Target="#{signature_id}">'
        f'<xad:SignedProperties Id="{signature_id}_SP">{properties}</xad:SignedProperties>'
        "</xad:QualifyingProperties>"
    )
    properties_digest = _sha256(canonical(_alone(qualifying)[0]))
    signed_info = _signed_info(target.element_id, digest, properties_digest)
    before = (
        f'<ds:Signature xmlns:ds="{DS}" Id="{signature_id}">{signed_info}<ds:SignatureValue Id="{signature_id}_SV">'
    )
    after = f"</ds:SignatureValue>{key_info}<ds:Object>{qualifying}</ds:Object></ds:Signature>"
    return Prepared(
        element_id=target.element_id,
        offset=target.offset,
        to_sign=canonical(_alone(signed_info)),
        before_value=_ascii(before),
        after_value=_ascii(after),
    )


def _signed_info(element_id: str, digest: str, properties_digest: str) -> str:
    exclusive = f'<ds:Transform Algorithm="{EXC_C14N}"/>'
    return (
        "<ds:SignedInfo>"
        f'<ds:CanonicalizationMethod Algorithm="{EXC_C14N}"/>'
        f'<ds:SignatureMethod Algorithm="{RSA_SHA256}"/>'
        f'<ds:Reference URI="#{element_id}">'
        f'<ds:Transforms><ds:Transform Algorithm="{ENVELOPED}"/>{exclusive}</ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{SHA256}"/><ds:DigestValue>{digest}</ds:DigestValue>'
        "</ds:Reference>"
        f'<ds:Reference Type="{XADES}SignedProperties" URI="#{element_id}_SIG_1_SP">'
        f"<ds:Transforms>{exclusive}</ds:Transforms>"
        f'<ds:DigestMethod Algorithm="{SHA256}"/><ds:DigestValue>{properties_digest}</ds:DigestValue>'
        "</ds:Reference>"
        "</ds:SignedInfo>"
    )


def _key_info(certificate: x509.Certificate) -> str:
    # One line: a newline around the certificate has broken verifiers (section 12, #714).
    der = b64encode(certificate.public_bytes(Encoding.DER)).decode()
    return f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{der}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"


def _signature_properties(certificate: x509.Certificate, signing_time: datetime, stated: Stated) -> str:
    """The five properties of 5.3, in its order; the same for every signature of one document."""
    # 5.3: the certificate's digest is still SHA-1; it names the certificate, it does not protect it.
    der = certificate.public_bytes(Encoding.DER)
    digest = b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()
    return (
        "<xad:SignedSignatureProperties>"
        f"<xad:SigningTime>{signing_time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}</xad:SigningTime>"
        "<xad:SigningCertificate><xad:Cert>"
        f'<xad:CertDigest><xad:DigestMethod Algorithm="{SHA1}"/>'
        f"<xad:DigestValue>{digest}</xad:DigestValue></xad:CertDigest>"
        f"<xad:IssuerSerial><ds:X509IssuerName>{_text(rfc2253(certificate.issuer))}</ds:X509IssuerName>"
        f"<ds:X509SerialNumber>{certificate.serial_number}</ds:X509SerialNumber></xad:IssuerSerial>"
        "</xad:Cert></xad:SigningCertificate>"
        "<xad:SignaturePolicyIdentifier><xad:SignaturePolicyId>"
        f"<xad:SigPolicyId><xad:Identifier>{POLICY}</xad:Identifier>"
        f"<xad:Description>{POLICY_DESCRIPTION}</xad:Description></xad:SigPolicyId>"
        f'<xad:SigPolicyHash><xad:DigestMethod Algorithm="{SHA256}"/>'
        f"<xad:DigestValue>{POLICY_SHA256}</xad:DigestValue></xad:SigPolicyHash>"
        f"<xad:SigPolicyQualifiers><xad:SigPolicyQualifier><xad:SPURI>{POLICY_LOCATION}</xad:SPURI>"
        "</xad:SigPolicyQualifier></xad:SigPolicyQualifiers>"
        "</xad:SignaturePolicyId></xad:SignaturePolicyIdentifier>"
        f"<xad:SignatureProductionPlace><xad:City>{_text(stated.city)}</xad:City>"
        f"<xad:PostalCode>{_text(stated.postal_code)}</xad:PostalCode>"
        f"<xad:CountryName>{_text(stated.country)}</xad:CountryName></xad:SignatureProductionPlace>"
        f"<xad:SignerRole><xad:ClaimedRoles><xad:ClaimedRole>{_text(stated.role)}</xad:ClaimedRole>"
        "</xad:ClaimedRoles></xad:SignerRole>"
        "</xad:SignedSignatureProperties>"
    )


def _signature_id(target: Target) -> str:
    return f"{target.element_id}_SIG_1"


def _alone(markup: str) -> etree._Element:
    """Parse one part of a signature, with the only declaration it takes from ds:Signature."""
    try:
        return etree.fromstring(
            _ascii(f'<ds:Signature xmlns:ds="{DS}">{markup}</ds:Signature>'), parser=xml.safe_parser()
        )[0]
    except etree.XMLSyntaxError as error:
        raise UnsignableError(
            "Le rôle ou le lieu de signature contient un caractère interdit en XML. "
            "Corrigez-les, puis signez à nouveau."
        ) from error


def _text(value: str) -> str:
    return escape(value, quote=False)


def _ascii(markup: str) -> bytes:
    """Encode so that the bytes mean the same in an ISO-8859-1 document and in a UTF-8 one."""
    return markup.encode("ascii", "xmlcharrefreplace")


def _sha256(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()

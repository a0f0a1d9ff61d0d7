"""Certificates as they come from anybody: read whole, or not at all, so that nothing in them surprises us later.

``cryptography`` reads the parts of a certificate when they are asked for. A hostile one may be sound until someone
asks for its names, its key or its extensions; so everything that we will ever ask for is asked for here, once.
"""

from datetime import timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

ANNOUNCED_BEFORE: Final = timedelta(days=90)  # how long before its end a certificate is announced
RSA_BITS_MIN: Final = 2048  # RGS, annexe B1
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
# What RFC 4514 leaves to whoever writes; it would show these as numbers.
_SHORT_NAMES: Final = {
    NameOID.EMAIL_ADDRESS: "E",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.TITLE: "T",
    NameOID.GIVEN_NAME: "GIVENNAME",
    NameOID.SURNAME: "SURNAME",
    NameOID.PSEUDONYM: "PSEUDONYM",
    NameOID.POSTAL_CODE: "POSTALCODE",
    NameOID.ORGANIZATION_IDENTIFIER: "ORGANIZATIONIDENTIFIER",
}
_FAULTS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class CertificateUnreadableError(ValueError):
    """Bytes that are no certificate, or one of which a part cannot be read. Refuse it."""


@lru_cache(maxsize=512)
def read_der(der: bytes) -> x509.Certificate:
    """Return a certificate, every part of which can be read.

    Raises:
        CertificateUnreadableError: it is none, or a part of it cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except _FAULTS as error:
        raise CertificateUnreadableError(str(error)) from error
    return readable(certificate)


def read_pem(pem: bytes) -> x509.Certificate:
    """Return the certificate of a PEM text; as `read_der`."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except _FAULTS as error:
        raise CertificateUnreadableError(str(error)) from error
    return readable(certificate)


def readable(certificate: x509.Certificate) -> x509.Certificate:
    """Return a certificate, every part of which can be read; as `read_der`."""
    try:
        for name in (certificate.subject, certificate.issuer):
            rfc2253(name)
        _ = (certificate.version, certificate.serial_number, certificate.public_key(), list(certificate.extensions))
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except _FAULTS as error:
        raise CertificateUnreadableError(str(error)) from error
    return certificate


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate (DER), in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def name_of(certificate: x509.Certificate) -> str:
    """Return what people call the holder of a certificate: its common name, or else its whole subject."""
    return common_name(certificate.subject)


def common_name(name: x509.Name) -> str:
    """Return what people call someone or an authority: its common name, or else the whole name."""
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else whole_name(name)


def whole_name(name: x509.Name) -> str:
    """Write a distinguished name as people read it: RFC 4514, with the short names that their tools show."""
    return name.rfc4514_string(_SHORT_NAMES)


def key_fault(certificate: x509.Certificate) -> str:
    """Say why a key is too weak or too unusual to sign with (a French sentence); empty when it is not."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        is_weak = key.key_size < RSA_BITS_MIN
        weak = f"La clé RSA du certificat n’a que {key.key_size} bits : {RSA_BITS_MIN} au moins sont exigés."
        return weak if is_weak else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        is_usual = isinstance(key.curve, CURVES)
        return "" if is_usual else f"La courbe « {key.curve.name} » de la clé du certificat n’est pas admise."
    return "La clé du certificat n’est ni une clé RSA ni une clé ECDSA."


def rfc2253(name: x509.Name) -> str:
    """Write a distinguished name as Java does, and so as DGFiP reads it (5.3).

    RFC 2253 2.4: an attribute that has no short name there, such as the e-mail address, is its OID and the
    hexadecimal of its DER value. RFC 4514, which ``cryptography`` follows, would write the text.
    """
    return ",".join("+".join(_rfc2253_attribute(one) for one in rdn) for rdn in reversed(name.rdns))


def _rfc2253_attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    if attribute.rfc4514_attribute_name != attribute.oid.dotted_string:
        return attribute.rfc4514_string()
    # Name(SEQUENCE) > RDN(SET) > attribute(SEQUENCE) > OID, value; an OID is always shorter than 128 bytes.
    pair = x509.Name([attribute]).public_bytes()
    for _ in range(3):
        pair = _der_content(pair)
    return f"{attribute.oid.dotted_string}=#{pair[2 + pair[1] :].hex()}"


def _der_content(der: bytes) -> bytes:
    length = der[1]
    return der[2:] if length < 0x80 else der[2 + (length & 0x7F) :]

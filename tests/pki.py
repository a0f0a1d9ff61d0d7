"""Authorities, certificates, revocation lists and OCSP answers, of every kind that a signature may come with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tests.signing import NOW, Key

YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Holder:
    """A key and its certificate."""

    certificate: x509.Certificate
    key: Key


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make a key once for each number: they take long."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Make a key on a curve."""
    return ec.generate_private_key(curve())


def usage(**allowed: bool) -> x509.KeyUsage:
    """Return a key usage where only what is named is allowed."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


SIGNS = usage(digital_signature=True, content_commitment=True)
CERTIFIES = usage(key_cert_sign=True, crl_sign=True)


def issue(
    name: str | x509.Name,
    key: Key,
    issuer: Holder | None = None,
    *,
    begin: datetime = NOW - YEAR,
    end: datetime = NOW + YEAR,
    is_authority: bool = False,
    key_usage: x509.KeyUsage | None = SIGNS,
    extended: x509.ObjectIdentifier | None = None,
    authority_usage: x509.KeyUsage | None = None,
) -> Holder:
    """Issue a certificate; by itself when there is no issuer."""
    short = {NameOID.COUNTRY_NAME: "FR", NameOID.COMMON_NAME: str(name)}
    subject = name if isinstance(name, x509.Name) else x509.Name(x509.NameAttribute(*one) for one in short.items())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if key_usage is not None:
        builder = builder.add_extension((authority_usage or CERTIFIES) if is_authority else key_usage, critical=True)
    if extended is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), critical=False)
    return Holder(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@cache
def root() -> Holder:
    """Return the authority that the tests trust."""
    return issue("Autorité racine d'essai", rsa_key(1), begin=NOW - 5 * YEAR, end=NOW + 5 * YEAR, is_authority=True)


@cache
def intermediate() -> Holder:
    """Return an authority below it."""
    name = "Autorité fille d'essai"
    return issue(name, rsa_key(2), root(), begin=NOW - 4 * YEAR, end=NOW + 4 * YEAR, is_authority=True)


@cache
def signer() -> Holder:
    """Return a signatory of the intermediate authority."""
    return issue("Signataire d'essai", rsa_key(3), intermediate())


def hostile_holder() -> Holder:
    """Return a certificate that can be loaded, and one extension of which cannot be read (an x400Address)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hostile")])
    unreadable = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00")
    builder = (
        x509.CertificateBuilder(name, name, rsa_key(3).public_key(), 1)
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .add_extension(unreadable, critical=False)
    )
    return Holder(builder.sign(rsa_key(3), hashes.SHA256()), rsa_key(3))


def crl(
    issuer: Holder,
    revoked: Sequence[tuple[Holder, datetime, x509.ReasonFlags | None]] = (),
    *,
    made: datetime = NOW,
    until: datetime = NOW + timedelta(days=7),
    key: Key | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.CertificateRevocationList:
    """Return a list of revoked certificates; signed with another key if one is given."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(made)
        .next_update(until)
    )
    for holder, at, reason in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(holder.certificate.serial_number).revocation_date(at)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(key or issuer.key, hashes.SHA256())


@cache
def responder() -> Holder:
    """Return an OCSP responder that the intermediate authority named."""
    return issue("Répondeur d'essai", rsa_key(4), intermediate(), extended=ExtendedKeyUsageOID.OCSP_SIGNING)


def ocsp_answer(
    holder: Holder,
    issuer: Holder,
    by: Holder,
    *,
    revoked_at: datetime | None = None,
    reason: x509.ReasonFlags | None = None,
    made: datetime = NOW,
    until: datetime | None = NOW + timedelta(days=1),
) -> ocsp.OCSPResponse:
    """Return what a responder says of a certificate."""
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=holder.certificate,
            issuer=issuer.certificate,
            algorithm=hashes.SHA1(),  # noqa: S303  # it names the certificate, as everybody does
            cert_status=ocsp.OCSPCertStatus.GOOD if revoked_at is None else ocsp.OCSPCertStatus.REVOKED,
            this_update=made,
            next_update=until,
            revocation_time=revoked_at,
            revocation_reason=reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    )
    if by is not issuer:
        builder = builder.certificates([by.certificate])
    return builder.sign(by.key, hashes.SHA256())


def write_trust(
    folder: Path,
    *authorities: Holder,
    crls: Sequence[x509.CertificateRevocationList] = (),
    answers: Sequence[ocsp.OCSPResponse] = (),
) -> Path:
    """Write a trust list into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(authorities):
        (folder / f"autorite-{number}.pem").write_bytes(one.certificate.public_bytes(Encoding.PEM))
    for number, revoked in enumerate(crls):
        (folder / f"liste-{number}.crl").write_bytes(revoked.public_bytes(Encoding.DER))
    for number, answer in enumerate(answers):
        (folder / f"reponse-{number}.ocsp").write_bytes(answer.public_bytes(Encoding.DER))
    return folder

"""Makes the certificates of a demonstration: an authority, a seal and a signatory, all fictitious.

Nobody trusts them, and nobody should: the names say so. The signatory's has what Hélios expects of a signing
certificate (RSA, nonRepudiation, see ``helios.md`` 5.7); the authority has an e-mail attribute, as real ones
do, because it changes how its name is written in a signature.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from shared.runtime.files import write_whole

AUTHORITY_DAYS = 3650
SIGNER_DAYS = 730
REMAINING_DAYS_MIN = 30

AUTHORITY_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Heliotrope"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Autorité de démonstration, sans valeur"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "demonstration@heliotrope.invalid"),
    ]
)
SIGNER_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Commune de Démonstration"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Ordonnateur de démonstration"),
    ]
)


PERSON_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Commune de Démonstration"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Camille Exemple, maire"),
    ]
)


@dataclass(frozen=True)
class DemoPki:
    """Where the files are.

    Attributes:
        trust: a trust list: the authority, and its list of revoked certificates, which is empty.
        signer_certificate: of the seal (PEM), as is `signer_key`.
        person: a signatory's key and certificate (PKCS#12), to sign by hand; `person_password` opens it.
    """

    ca_certificate: Path
    trust: Path
    signer_certificate: Path
    signer_key: Path
    person: Path
    person_password: Path


@dataclass(frozen=True)
class _Identity:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def ensure_demo_pki(folder: Path, now: datetime) -> DemoPki:
    """Make what is missing in ``folder``, or about to expire, and keep the rest.

    Args:
        folder: created if needed, closed to others; keys are readable by their owner only.
        now: aware; what is not valid from then on for a month is made again.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _kept(folder, "ca", now)
    if authority is None:
        authority = _make_authority(now)
        _write(folder, "ca", authority)
    signer = _kept(folder, "signer", now)
    if signer is None or not _is_issued_by(signer.certificate, authority.certificate):
        signer = _make_signer(authority, now, SIGNER_NAME)
        _write(folder, "signer", signer)
    person = _kept(folder, "maire", now)
    if person is None or not _is_issued_by(person.certificate, authority.certificate):
        person = _make_signer(authority, now, PERSON_NAME)
        _write(folder, "maire", person)
    pki = DemoPki(
        ca_certificate=folder / "ca.pem",
        trust=folder / "trust",
        signer_certificate=folder / "signer.pem",
        signer_key=folder / "signer.key",
        person=folder / "maire.p12",
        person_password=folder / "maire.password",
    )
    _write_trust(pki, authority, now)
    _write_card(pki, person)
    return pki


def _write_trust(pki: DemoPki, authority: _Identity, now: datetime) -> None:
    """Write whom the platform trusts: the authority, which has revoked nobody."""
    pki.trust.mkdir(mode=0o700, exist_ok=True)
    content = authority.certificate.public_bytes(Encoding.PEM)
    revoked = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - timedelta(minutes=5))
        .next_update(authority.certificate.not_valid_after_utc)
        .sign(authority.key, hashes.SHA256())
    )
    listed = pki.trust / "ca.pem"
    if not listed.exists() or listed.read_bytes() != content or not (pki.trust / "ca.crl").exists():
        write_whole(listed, content, mode=0o644)
        write_whole(pki.trust / "ca.crl", revoked.public_bytes(Encoding.DER), mode=0o644)


def _write_card(pki: DemoPki, person: _Identity) -> None:
    """Write the signatory's key as people are handed one: a PKCS#12 file, and its password beside it."""
    if _is_card_of(pki, person):
        return
    password = secrets.token_urlsafe(12)
    card = pkcs12.serialize_key_and_certificates(
        b"maire", person.key, person.certificate, None, BestAvailableEncryption(password.encode())
    )
    write_whole(pki.person_password, f"{password}\n".encode(), mode=0o600)
    write_whole(pki.person, card, mode=0o600)


def _is_card_of(pki: DemoPki, person: _Identity) -> bool:
    try:
        password = pki.person_password.read_bytes().strip()
        _, certificate, _ = pkcs12.load_key_and_certificates(pki.person.read_bytes(), password)
    except (FileNotFoundError, ValueError):
        return False
    return certificate == person.certificate


def _kept(folder: Path, name: str, now: datetime) -> _Identity | None:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
    except FileNotFoundError:
        return None
    # A run that was killed between its two writes leaves a key and a certificate that do not match.
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        return None
    end = now + timedelta(days=REMAINING_DAYS_MIN)
    if certificate.not_valid_before_utc > now or certificate.not_valid_after_utc < end:
        return None
    return _Identity(certificate, key)


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    expected = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return identifier.key_identifier == expected.key_identifier


def _make_authority(now: datetime) -> _Identity:
    key = _make_key()
    builder = _builder(AUTHORITY_NAME, AUTHORITY_NAME, key, key, now, days=AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
    return _Identity(builder.sign(key, hashes.SHA256()), key)


def _make_signer(authority: _Identity, now: datetime, name: x509.Name) -> _Identity:
    key = _make_key()
    builder = _builder(name, AUTHORITY_NAME, key, authority.key, now, days=SIGNER_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=False), critical=True)
    return _Identity(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime,
    *,
    days: int,
) -> x509.CertificateBuilder:
    issuer_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of one demonstration may differ a little
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_identifier, critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=not is_authority,  # the name nonRepudiation goes by today
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _write(folder: Path, name: str, identity: _Identity) -> None:
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = identity.certificate.public_bytes(Encoding.PEM)
    write_whole(folder / f"{name}.key", key, mode=0o600)
    write_whole(folder / f"{name}.pem", certificate, mode=0o644)

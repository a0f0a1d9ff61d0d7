"""Says who vouches for a certificate: its chain to the trust list at signing time, its usage, its revocation.

Checks 7 and 18 to 21 of `signing.checks`. OpenSSL builds the chain (RFC 5280 6), at the time of signature,
to any authority of the list, root or not. Revocation is looked up in what the platform was given (CRLs, OCSP
answers): nothing is fetched here.

A revoked certificate is refused when it was revoked at signing time, or because its key had leaked: a signing time is
only stated by the signatory, and whoever holds a stolen key can state any. What is not known is said, as a warning or
as a refusal: `is_proof_required`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from pes.text import in_paris
from pes.vocabulary import Finding, Severity
from signing import checks
from signing.certificates import key_fault, whole_name
from signing.checks import Check
from signing.report import Report, SignatureReport

CLOCKS_APART: Final = timedelta(minutes=5)  # how far in the future a signing time may be
Extension = TypeVar("Extension", bound=x509.ExtensionType)
_COMPROMISED: Final = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})


Said = tuple[Check, str, Severity]


@dataclass(frozen=True)
class TrustList:
    """Whom the platform trusts, and what it knows of revocations.

    Attributes:
        authorities: certificates of authorities, roots or not; a chain that reaches one of them is good.
        crls: lists of revoked certificates.
        ocsp_answers: answers of OCSP responders.
        is_proof_required: refuse a certificate that nothing says is not revoked, instead of warning.
    """

    authorities: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    ocsp_answers: tuple[ocsp.OCSPResponse, ...] = ()
    is_proof_required: bool = False
    _checked: dict[tuple[int, bytes], bool] = field(default_factory=dict, compare=False, repr=False)

    def is_signed(self, crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
        """Say whether an authority has signed one of `crls`; large lists take long, so each answer is remembered."""
        key = (id(crl), issuer.public_bytes(Encoding.DER))
        if key not in self._checked:
            self._checked[key] = is_signed_by(crl, issuer)
        return self._checked[key]


def vouched(report: Report, trust: TrustList | None, *, now: datetime) -> Report:
    """Return the report with what there is to say of each signatory's certificate.

    Args:
        report: what `verify` found.
        trust: None when nobody said whom to trust: a warning says so.
        now: aware.
    """
    judged: dict[tuple[x509.Certificate, datetime], list[Said]] = {}
    signatures = []
    for one in report.signatures:
        if one.certificate is None or one.signing_time is None:
            signatures.append(one)
            continue
        key = (one.certificate, one.signing_time)
        if key not in judged:  # forty bordereaux of one evening have one signatory
            judged[key] = judge(one.certificate, one.intermediates, trust, at=one.signing_time, now=now)
        findings = [
            check.finding(one.element_id, text, severity=severity)
            for check, text, severity in judged[key]
            if check is not checks.KEY  # `verify` has said it
        ]
        signatures.append(_with(one, findings))
    return replace(report, signatures=tuple(signatures))


def judge(
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    trust: TrustList | None,
    *,
    at: datetime,
    now: datetime,
) -> list[Said]:
    """Return what there is to say of one certificate with which something was signed at a time.

    Args:
        certificate: the signatory's.
        intermediates: certificates that came with it; not trusted.
        trust: None: the chain is not judged.
        at: the signing time, aware.
        now: aware.
    """
    found: list[Said] = []
    if at > now + CLOCKS_APART:
        text = f"La date de signature est à venir : {in_paris(at)}."
        found.append((checks.TIME, text, "blocking"))
    if fault := key_fault(certificate):
        found.append((checks.KEY, fault, "blocking"))
    found += [*_validity(certificate, at), *_usage(certificate)]
    if trust is None:
        text = "Aucune liste de confiance n’est donnée : personne ne répond du certificat du signataire."
        return [*found, (checks.CHAIN, text, "warning")]
    if any(check is checks.VALIDITY for check, _, _ in found):
        return found  # a chain at a time when the certificate was not valid would say the same again
    chain = _chain(certificate, intermediates, trust, at)
    if isinstance(chain, str):
        return [*found, (checks.CHAIN, chain, "blocking")]
    for held, issuer in pairwise(chain):
        found += _revocation(held, issuer, trust, at)
    return found


def _with(one: SignatureReport, findings: Sequence[Finding]) -> SignatureReport:
    return replace(one, findings=tuple(checks.in_order([*one.findings, *findings])))


# --- Checks 18 and 20: the certificate itself --------------------------------------------------------------------


def _validity(certificate: x509.Certificate, at: datetime) -> list[Said]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= at <= end:
        return []
    how = f"n’était pas encore valable (il l’est depuis le {begin:%d/%m/%Y})" if at < begin else "avait expiré"
    when = f" le {end:%d/%m/%Y}" if at > end else ""
    text = f"Le certificat {how}{when} à la date de signature, {in_paris(at)}."
    return [(checks.VALIDITY, text, "blocking")]


def _usage(certificate: x509.Certificate) -> list[Said]:
    usage = _extension(certificate, x509.KeyUsage)
    if _is_authority(certificate):
        return [
            (checks.USAGE, "Le certificat est celui d’une autorité : il ne sert pas à signer un flux.", "blocking")
        ]
    if usage is None:
        return [(checks.USAGE, "Le certificat ne dit pas à quoi il sert (keyUsage absent).", "warning")]
    if usage.content_commitment:
        return []
    if usage.digital_signature:
        text = (
            "Le certificat permet de s’authentifier (digitalSignature) ; nonRepudiation, attendu pour signer, manque."
        )
        return [(checks.USAGE, text, "warning")]
    return [(checks.USAGE, "Le certificat n’est pas fait pour signer (keyUsage).", "blocking")]


# --- Check 19: the chain -----------------------------------------------------------------------------------------

# What OpenSSL says (x509_vfy.h), in French.
_REASONS: Final = {
    2: "l’autorité qui l’a émis n’est pas dans la liste de confiance",
    7: "la signature d’un certificat de la chaîne est fausse",
    9: "un certificat de la chaîne n’était pas encore valable",
    10: "un certificat de la chaîne avait expiré",
    18: "il ne se recommande que de lui-même",
    19: "l’autorité racine n’est pas dans la liste de confiance",
    20: "l’autorité qui l’a émis n’est pas dans la liste de confiance",
    21: "l’autorité qui l’a émis n’est pas dans la liste de confiance",
    24: "un certificat de la chaîne n’est pas celui d’une autorité",
    25: "la chaîne est plus longue qu’une autorité ne le permet",
    34: "un certificat exige une règle que l’on ne connaît pas",
    79: "un certificat de la chaîne n’est pas celui d’une autorité",
}


def _chain(
    certificate: x509.Certificate, intermediates: Sequence[x509.Certificate], trust: TrustList, at: datetime
) -> list[x509.Certificate] | str:
    """Return the chain, or why there is none (a French sentence)."""
    if not trust.authorities:
        return "La liste de confiance est vide : aucune autorité ne peut répondre du certificat."
    store = crypto.X509Store()
    for authority in trust.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    # As S2LOW and Xemelios do: it is enough that one authority of the path is in the list (5.7).
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(at.astimezone(UTC))
    brought = [crypto.X509.from_cryptography(one) for one in intermediates]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate), brought)
    try:
        return [one.to_cryptography() for one in context.get_verified_chain()]
    except crypto.Error as error:
        return f"Un certificat de la chaîne est illisible ({error})."
    except crypto.X509StoreContextError as error:
        number = int(error.errors[0])
        reason = _REASONS.get(number, str(error))
        issuer = whole_name(certificate.issuer)
        return f"Le certificat n’est pas digne de confiance : {reason} (émis par « {issuer} »)."


# --- Check 21: revocation ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """What one source says of a certificate, and when it said so: revoked since, or not as far as it knows."""

    said_at: datetime
    revoked_at: datetime | None = None
    reason: x509.ReasonFlags | None = None

    @property
    def is_compromised(self) -> bool:
        return self.revoked_at is not None and self.reason in _COMPROMISED


def _revocation(
    certificate: x509.Certificate, issuer: x509.Certificate, trust: TrustList, at: datetime
) -> list[Said]:
    known = _what_is_known(certificate, issuer, trust, at)
    whose = f"« {whole_name(certificate.subject)} »"
    if known is None:
        severity: Severity = "blocking" if trust.is_proof_required else "warning"
        text = f"Rien ne dit si le certificat {whose} était révoqué : ni liste (CRL) ni réponse OCSP à cette date."
        return [(checks.REVOCATION, text, severity)]
    if known.revoked_at is None:
        return []
    when = f"le {in_paris(known.revoked_at)}"
    if known.is_compromised:
        text = (
            f"Le certificat {whose} a été révoqué {when}, sa clé ayant pu être volée : sa date ne prouve plus rien."
        )
        return [(checks.REVOCATION, text, "blocking")]
    if known.revoked_at <= at:
        text = f"Le certificat {whose} était révoqué à la date de signature, depuis {when}."
        return [(checks.REVOCATION, text, "blocking")]
    return [(checks.REVOCATION, f"Le certificat {whose} a été révoqué après la signature, {when}.", "warning")]


def _what_is_known(
    certificate: x509.Certificate, issuer: x509.Certificate, trust: TrustList, at: datetime
) -> _Known | None:
    """Return the worst that the sources say, whatever their order.

    A revocation that one of them knows counts, whatever the others say; a suspension (certificateHold) may be lifted,
    so there the last word counts.
    """
    known = [*_from_crls(certificate, issuer, trust, at), *_from_ocsp(certificate, issuer, trust.ocsp_answers, at)]
    last = max(known, key=lambda one: one.said_at, default=None)
    revoked = [
        one
        for one in known
        if one.revoked_at is not None and (one.reason is not x509.ReasonFlags.certificate_hold or one is last)
    ]
    if revoked:
        return min(revoked, key=lambda one: (not one.is_compromised, one.revoked_at or at))
    return next((one for one in known if one.revoked_at is None), None)


def _from_crls(
    certificate: x509.Certificate, issuer: x509.Certificate, trust: TrustList, at: datetime
) -> list[_Known]:
    found = []
    for crl in trust.crls:
        if crl.issuer != certificate.issuer or not trust.is_signed(crl, issuer):
            continue
        speaks_of_all = _covers_certificate(crl, certificate)
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None and speaks_of_all is not None:
            reason = _entry_reason(entry)
            if reason is not x509.ReasonFlags.remove_from_crl:
                found.append(_Known(crl.last_update_utc, entry.revocation_date_utc, reason))
        elif speaks_of_all and _knows_of(crl, certificate, at):
            found.append(_Known(crl.last_update_utc))
    return found


def _covers_certificate(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool | None:
    """Say what a list speaks of (RFC 5280 5.2): True, every revocation of a certificate like this one; False, some.

    Returns:
        None when it says nothing of this certificate: a list of changes, of others' certificates, of another kind.
    """
    known = (x509.IssuingDistributionPoint, x509.CRLNumber, x509.AuthorityKeyIdentifier)
    if any(one.critical and not isinstance(one.value, known) for one in crl.extensions):
        return None  # DeltaCRLIndicator is one of them
    point = _extension(crl, x509.IssuingDistributionPoint)
    if point is None:
        return True
    is_authority = _is_authority(certificate)
    if point.indirect_crl or point.only_contains_attribute_certs:
        return None
    if (point.only_contains_ca_certs and not is_authority) or (point.only_contains_user_certs and is_authority):
        return None
    return not point.only_some_reasons


def _knows_of(crl: x509.CertificateRevocationList, certificate: x509.Certificate, at: datetime) -> bool:
    """Say whether a list that does not name a certificate proves it was not revoked at a time.

    One made after a certificate expired proves nothing: an authority may drop what has expired (RFC 5280 3.3).
    """
    return crl.last_update_utc <= certificate.not_valid_after_utc and _covers(
        crl.last_update_utc, crl.next_update_utc, at
    )


def _covers(since: datetime, until: datetime | None, at: datetime) -> bool:
    """Say whether a source knows of a time: it was made later, or was in force then."""
    return since >= at or until is None or at <= until


def _entry_reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return None


def is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Say whether an authority, which may sign lists of revoked certificates, has signed this one."""
    key, usage = issuer.public_key(), _extension(issuer, x509.KeyUsage)
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or (usage and not usage.crl_sign):
        return False
    try:
        return crl.is_signature_valid(key)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _from_ocsp(
    certificate: x509.Certificate, issuer: x509.Certificate, answers: Sequence[ocsp.OCSPResponse], at: datetime
) -> list[_Known]:
    found = []
    for answer in answers:
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            continue
        for single in answer.responses:
            if not _is_about(single, certificate, issuer) or not _is_answered_by(answer, issuer):
                continue
            if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
                found.append(_Known(single.this_update_utc, single.revocation_time_utc, single.revocation_reason))
            elif single.certificate_status is ocsp.OCSPCertStatus.GOOD and _covers(
                single.this_update_utc, single.next_update_utc, at
            ):
                found.append(_Known(single.this_update_utc))
    return found


def _is_about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    return (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
        asked.serial_number,
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )


def _is_answered_by(answer: ocsp.OCSPResponse, issuer: x509.Certificate) -> bool:
    """Say whether the authority answered itself, or a responder that it named (RFC 6960 4.2.2.2)."""
    return any(_has_signed(signer, answer) for signer in (issuer, *_responders(answer, issuer)))


def _responders(answer: ocsp.OCSPResponse, issuer: x509.Certificate) -> list[x509.Certificate]:
    return [one for one in answer.certificates if _is_responder(one, issuer)]


def _is_responder(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        usage = _extension(certificate, x509.ExtendedKeyUsage)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return usage is not None and ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _has_signed(certificate: x509.Certificate, answer: ocsp.OCSPResponse) -> bool:
    key, algorithm = certificate.public_key(), answer.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(held: x509.Certificate | x509.CertificateRevocationList, kind: type[Extension]) -> Extension | None:
    try:
        return held.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None

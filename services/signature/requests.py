"""What those who run a collectivité's signatures send: read, checked, and said as the facts that they ask for."""

from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import BaseModel, Field

from pes.text import in_paris
from services.signature.circuits import Domain, Step
from shared.errors import RequestRefusedError, Why
from shared.facts import collectivite as facts
from shared.facts.envelope import new_id
from shared.facts.values import Siren, StepKind
from shared.web.texts import Comment, Name, Person, Reason
from signing.certificates import RSA_BITS_MIN, fingerprint, read_der, readable

CERTIFICATE_CHARACTERS_MAX = 20_000
STEPS_MAX = 20
PERSONS_MAX = 50
FIRST_YEAR, LAST_YEAR = 2000, 2199

StepName = Annotated[Comment, Field(max_length=200)]


class NewMandate(BaseModel):
    """A mandate to record; the same `mandate_id` again, with the same content, records nothing more."""

    mandate_id: UUID | None = None
    collectivite: Siren
    person: Person
    name: Name
    act: Reason
    valid_from: datetime
    valid_until: datetime | None = None
    certificate: str = Field(default="", max_length=CERTIFICATE_CHARACTERS_MAX)
    reason: Reason | None = None

    def granted(self) -> facts.MandateGranted:
        """Return the fact that it asks for.

        Raises:
            RequestRefusedError: it would never hold, or its certificate cannot sign.
        """
        valid_from = in_utc("valid_from", self.valid_from)
        valid_until = None if self.valid_until is None else _end_after(valid_from, self.valid_until)
        named = GivenCertificate.read(self.certificate)
        if named.until is not None and named.until <= valid_from:
            raise _bad_certificate(
                f"Ce certificat expire le {in_paris(named.until)}, avant le début du mandat : il ne "
                "servirait jamais. Donnez celui qui le remplace."
            )
        return facts.MandateGranted(
            mandate_id=self.mandate_id or new_id(),
            person=self.person,
            name=self.name,
            act=self.act,
            valid_from=valid_from,
            valid_until=valid_until,
            certificate_sha256=named.sha256,
            certificate_until=named.until,
            reason=self.reason or "",
        )


class NewDelegation(BaseModel):
    """A delegation to record; the same `delegation_id` again, with the same content, records nothing more."""

    delegation_id: UUID | None = None
    collectivite: Siren
    absent: Person
    substitute: Person
    valid_from: datetime
    valid_until: datetime
    reason: Reason

    def given(self) -> facts.DelegationGiven:
        """Return the fact that it asks for.

        Raises:
            RequestRefusedError: it would never hold.
        """
        valid_from = in_utc("valid_from", self.valid_from)
        return facts.DelegationGiven(
            delegation_id=self.delegation_id or new_id(),
            absent=self.absent,
            substitute=self.substitute,
            valid_from=valid_from,
            valid_until=_end_after(valid_from, self.valid_until),
            reason=self.reason,
        )


class NewEnd(BaseModel):
    """From when something no longer holds: at once unless told otherwise."""

    at: datetime | None = None
    reason: Reason

    def ended_at(self, now: datetime) -> datetime:
        """Return that instant, UTC."""
        return now if self.at is None else in_utc("at", self.at)


class WantedStep(BaseModel):
    """One step of a circuit; see `services.signature.circuits.Step`."""

    kind: StepKind
    any_of: list[Person] = Field(default_factory=list, max_length=PERSONS_MAX)
    domain: Domain = ""
    name: StepName = ""

    def step(self) -> Step:
        """Return it; who is named twice counts once."""
        return Step(self.kind, tuple(dict.fromkeys(self.any_of)), self.domain, self.name)


class CircuitChange(BaseModel):
    """The steps for a kind of flux from now on; none takes back what was set before."""

    flux_kind: facts.FluxKind = "*"
    steps: list[WantedStep] = Field(max_length=STEPS_MAX)
    reason: Reason


class SealChange(BaseModel):
    """Whether the platform's seal signs from now on."""

    has_seal: bool
    reason: Reason

    def said(self) -> facts.SealChosen | facts.SealLeft:
        """Return the fact that it asks for."""
        return facts.SealChosen(reason=self.reason) if self.has_seal else facts.SealLeft(reason=self.reason)


@dataclass(frozen=True)
class GivenCertificate:
    """The certificate that a mandate names; all empty when it names none."""

    sha256: str = ""
    until: datetime | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the certificate that a request carries: PEM, or the base64 of its DER.

        Raises:
            RequestRefusedError: it is no certificate, several, or one that cannot sign for Hélios.
        """
        if not text.strip():
            return cls()
        if "PRIVATE KEY" in text:
            raise _bad_certificate(
                "Ce texte contient une clé privée : ne la confiez à personne. Elle n’est pas conservée ; donnez le "
                "certificat seul."
            )
        try:
            found = _certificates_in(text)
            keys = [certificate.public_key() for certificate in found]
        except (ValueError, x509.InvalidVersion) as error:
            raise _bad_certificate(
                "Ce texte n’est pas un certificat lisible : donnez-le au format PEM, ou son DER en base64."
            ) from error
        if len(found) != 1:
            raise _bad_certificate(
                f"Ce texte contient {len(found)} certificats : donnez seulement celui du signataire, sans sa chaîne."
            )
        if not isinstance(keys[0], RSAPublicKey) or keys[0].key_size < RSA_BITS_MIN:
            raise _bad_certificate(
                f"La clé de ce certificat n’est pas une clé RSA d’au moins {RSA_BITS_MIN} bits, seule admise pour "
                "signer ici. Choisissez un autre certificat."
            )
        return cls(fingerprint(found[0]), found[0].not_valid_after_utc)


def in_utc(name: str, moment: datetime) -> datetime:
    """Return an instant that a request gives under a name, UTC.

    Raises:
        RequestRefusedError: it has no zone, or is not of our time.
    """
    if moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise RequestRefusedError(
            Why.UNUSABLE,
            "moment-invalid",
            "Instant mal écrit",
            f"« {name} » : donnez un instant avec son fuseau, entre {FIRST_YEAR} et {LAST_YEAR}, par exemple "
            "2026-03-28T09:00:00+01:00.",
        )
    return moment.astimezone(UTC)


def _end_after(valid_from: datetime, until: datetime) -> datetime:
    """Return the end of what begins at an instant."""
    valid_until = in_utc("valid_until", until)
    if valid_until <= valid_from:
        raise RequestRefusedError(
            Why.UNUSABLE,
            "period-invalid",
            "Période impossible",
            f"La fin ({in_paris(valid_until)}) ne vient pas après le début ({in_paris(valid_from)}, en "
            "temps universel). Corrigez l’une ou l’autre.",
        )
    return valid_until


def _certificates_in(text: str) -> list[x509.Certificate]:
    if "-----BEGIN" in text:
        return [readable(one) for one in x509.load_pem_x509_certificates(text.encode())]
    return [read_der(b64decode("".join(text.split()), validate=True))]


def _bad_certificate(detail: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE, "certificate-invalid", "Certificat refusé", f"{detail} Rien n’est enregistré."
    )

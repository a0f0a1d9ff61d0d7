"""Mandates: who may sign for a collectivité, from when to when, under which act.

A mandate is recorded once and never changed; one that ends early gets an end beside it. Whoever signs is asked for
a mandate twice, when the bytes are handed out and when the signature comes back: signing after a mandate ended is
impossible. Where a mandate names a certificate, only that certificate signs under it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pes.text import in_paris


@dataclass(frozen=True)
class Mandate:
    """The right of a person to sign for a collectivité.

    Attributes:
        collectivite: SIREN, 9 digits.
        person: the `sub` of the person's account.
        name: as people know them: "Camille Exemple, maire".
        act: what gives the right: "Délibération n° 2026-12 du 28 mars 2026".
        valid_from: the first instant; aware.
        valid_until: the instant from which it no longer holds; None: until it is ended.
        certificate_sha256: of the DER of the only certificate to sign with, in lower-case hexadecimal; empty for any.
        certificate_until: when that certificate expires, if one is named.
        reason: why an operator recorded it in place of the collectivité; empty when its administrator did.
        ended_at: from when it was ended early, and `ended_because` why.
    """

    mandate_id: UUID
    collectivite: str
    person: str
    name: str
    act: str
    valid_from: datetime
    valid_until: datetime | None
    certificate_sha256: str = ""
    certificate_until: datetime | None = None
    reason: str = ""
    recorded_by: str = ""
    recorded_at: datetime | None = None
    ended_at: datetime | None = None
    ended_because: str = ""

    @property
    def last(self) -> datetime | None:
        """From when it no longer holds, whether foreseen or ended early; None without end."""
        ends = [end for end in (self.valid_until, self.ended_at) if end is not None]
        return min(ends, default=None)

    def holds(self, at: datetime) -> bool:
        """Say whether it gives the right to sign at an instant."""
        return self.valid_from <= at and (self.last is None or at < self.last)

    def allows(self, certificate_sha256: str) -> bool:
        """Say whether one may sign under it with a certificate."""
        return self.certificate_sha256 in ("", certificate_sha256)


class NamedCertificate(NamedTuple):
    """A certificate that a mandate names, and when it expires."""

    collectivite: str
    name: str
    certificate_sha256: str
    certificate_until: datetime


@dataclass(frozen=True)
class Refusal:
    """Why someone may not sign; `reason` is French, `code` stable."""

    code: str
    reason: str


def mandate_of(
    person: str,
    mandates: Iterable[Mandate],
    *,
    at: datetime,
    certificate_sha256: str,
    signing_time: datetime | None = None,
) -> Mandate | Refusal:
    """Return the mandate under which a person may sign at an instant with a certificate, or why there is none.

    Args:
        person: the `sub` of the one who signs.
        mandates: those of the collectivité.
        at: aware.
        certificate_sha256: of the certificate that signs.
        signing_time: as stated in the signature; the same mandate must have held then too.
    """
    everyone = list(mandates)
    own = [mandate for mandate in everyone if mandate.person == person]
    if not own:
        return Refusal(
            "mandate.none",
            "Vous n’avez pas de mandat pour signer au nom de cette collectivité. "
            "Son administrateur peut l’enregistrer, avec l’acte qui vous le donne.",
        )
    in_force = [mandate for mandate in own if mandate.holds(at)]
    if not in_force:
        return _out_of_its_time(max(own, key=lambda mandate: mandate.valid_from), at)
    then = [mandate for mandate in in_force if signing_time is None or mandate.holds(signing_time)]
    others = {one.person for one in everyone if one.certificate_sha256 == certificate_sha256 and one.holds(at)}
    return _with_certificate(then, set() if person in others else others, certificate_sha256)


def _out_of_its_time(mandate: Mandate, at: datetime) -> Refusal:
    if at < mandate.valid_from:
        return Refusal(
            "mandate.not-yet", f"Votre mandat ({mandate.act}) ne commence que le {in_paris(mandate.valid_from)}."
        )
    when = f" le {in_paris(mandate.last)}" if mandate.last else ""
    return Refusal(
        "mandate.ended",
        f"Votre mandat ({mandate.act}) a pris fin{when} : vous ne pouvez plus signer pour cette collectivité. Son "
        "administrateur peut en enregistrer un nouveau.",
    )


def _with_certificate(mandates: Sequence[Mandate], others: set[str], certificate_sha256: str) -> Mandate | Refusal:
    """Return the mandate under which a certificate signs; `others` are those whose mandates name that certificate."""
    if others:
        return Refusal(
            "mandate.certificate-of-another",
            f"Ce certificat est celui que désigne le mandat de {', '.join(sorted(others))}. Signez avec le vôtre.",
        )
    if not mandates:
        return Refusal("mandate.ended", "Votre mandat ne valait pas à la date de signature. Signez de nouveau.")
    for mandate in mandates:
        if mandate.allows(certificate_sha256):
            return mandate
    return Refusal(
        "mandate.other-certificate",
        "Votre mandat désigne un autre certificat que celui-ci. Signez avec le certificat enregistré, ou demandez à "
        "l’administrateur de la collectivité d’enregistrer le nouveau.",
    )


def mandate_for_certificate(
    mandates: Iterable[Mandate], *, signing_time: datetime, received_at: datetime, certificate_sha256: str
) -> Mandate | None:
    """Return a mandate that names a certificate, for what was signed elsewhere.

    It must have held when the signature says it was made, and when it came to us: the first is only stated, and
    someone whose mandate has ended could state any day.
    """
    named = (one for one in mandates if one.certificate_sha256 == certificate_sha256)
    return next((one for one in named if one.holds(signing_time) and one.holds(received_at)), None)

"""Decides what is recorded about the signatures of a flux: what has to happen, who may do it, what it comes to.

A mandate is asked of whoever signs here, before and after. Of what was signed elsewhere, the registry is asked
whether a mandate names the certificate: a collectivité that keeps its mandates here is protected against the
signature of someone who has none; of one that keeps none, a warning says that nobody checked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pes.text import in_paris
from pes.vocabulary import Finding, Where
from services.signature.circuits import Step
from services.signature.mandates import Mandate, mandate_for_certificate
from shared.errors import RequestRefusedError, Why
from shared.facts.fact import Fact
from shared.facts.flux import FluxSigned, SignatureRequested, SignatureRestarted, SignaturesRejected
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.values import CircuitStep, Document, MandateHeld, Signature
from signing import checks
from signing.certificates import fingerprint
from signing.outline import Target
from signing.report import Report, SignatureReport

QUOTED_CHARACTERS_MAX: Final = 1000  # what a finding may quote of a document; a fact stays small
SIGNER_CHARACTERS_MAX: Final = 500  # a certificate may hold any name
FINDINGS_MAX: Final = 200


class NotYoursError(ValueError):
    """A step of a circuit is not for this person; the message is French."""


def request(targets: Sequence[Target], steps: Sequence[Step]) -> SignatureRequested:
    """Ask for the signatures that are missing, through the steps of a circuit.

    A signing step that would sign nothing in this flux is left out: of one that comes signed, the visas remain. When
    the whole flux carries one signature, the last signing step gives it.
    """
    missing = [target for target in targets if not target.is_signed]
    signing = [step for step in steps if step.kind != "visa"]
    circuit = []
    for step in steps:
        covered = tuple(target.element_id for target in missing if _covers(step, target, is_last=step is signing[-1]))
        if step.kind == "visa" or covered:
            circuit.append(CircuitStep(kind=step.kind, any_of=step.any_of, name=step.name, elements=covered))
    return SignatureRequested(elements=tuple(target.element_id for target in missing), circuit=tuple(circuit))


def _covers(step: Step, target: Target, *, is_last: bool) -> bool:
    if step.kind == "visa":
        return False
    return is_last if target.is_global else step.domain in ("", target.domain)


def conclude(
    flux: Flux, document: Document, report: Report, mandates: Sequence[Mandate], *, received_at: datetime
) -> list[Fact]:
    """Say what the signatures of a flux come to, once none is missing: signed, or rejected.

    Args:
        flux: still to be signed.
        document: the bytes that were verified.
        report: of those bytes, trust included.
        mandates: those of the collectivité.
        received_at: when the flux was imported.
    """
    if report.verdict == "unsigned":
        raise ValueError("a flux without any signature is not concluded")
    given = {signature.element_id: signature for signature in flux.signatures}
    signatures, findings = [], list(report.all_findings)
    for one in report.signatures:
        held = given.get(one.element_id)
        if (
            held is not None
            and one.certificate is not None
            and held.certificate_sha256 == fingerprint(one.certificate)
        ):
            signatures.append(held)
            continue
        mandate, said = elsewhere(one, mandates, received_at)
        findings += said
        if one.holds:
            signatures.append(recorded(one, mandate))
    blocking = [finding for finding in findings if finding.severity == "blocking"]
    if blocking:
        return [SignaturesRejected(findings=tuple(blocking[:FINDINGS_MAX]))]
    return [FluxSigned(document=document, signatures=tuple(signatures), warnings=tuple(findings[:FINDINGS_MAX]))]


def elsewhere(
    one: SignatureReport, mandates: Sequence[Mandate], received_at: datetime
) -> tuple[Mandate | None, list[Finding]]:
    """Return the mandate of a signature that was not made here, and what there is to say when there is none."""
    if one.certificate is None or one.signing_time is None:
        return None, []
    if not mandates:
        text = "Aucun mandat n’est enregistré pour cette collectivité : qui pouvait signer n’est pas vérifié."
        return None, [checks.MANDATE.finding(one.element_id, text, severity="warning")]
    found = mandate_for_certificate(
        mandates,
        signing_time=one.signing_time,
        received_at=received_at,
        certificate_sha256=fingerprint(one.certificate),
    )
    if found is not None:
        return found, []
    text = (
        f"Aucun mandat de la collectivité ne désigne le certificat « {one.signer[:SIGNER_CHARACTERS_MAX]} » "
        f"à la fois à la date de signature, {in_paris(one.signing_time)}, et à la réception du fichier, "
        f"{in_paris(received_at)}."
    )
    return None, [checks.MANDATE.finding(one.element_id, text)]


def rejected(findings: Iterable[Finding]) -> SignaturesRejected:
    """Reject the signatures of a flux for these findings."""
    return SignaturesRejected(findings=tuple(findings)[:FINDINGS_MAX])


def unsignable(reason: str) -> SignaturesRejected:
    """Reject a flux that cannot be signed as it is; `reason` is French."""
    return SignaturesRejected(
        findings=(
            Finding(
                source="control",
                code="signature.unsignable",
                severity="blocking",
                message=reason[:QUOTED_CHARACTERS_MAX],
                where=Where(),
                who="éditeur",
                next="Corrigez le flux à sa source, exportez-le, puis importez-le de nouveau : rien n’est transmis.",
            ),
        )
    )


def recorded(one: SignatureReport, mandate: Mandate | None) -> Signature:
    """Return what is kept of a signature in a fact.

    Raises:
        ValueError: nothing is known of it; it did not hold.
    """
    if one.certificate is None or one.signing_time is None:
        raise ValueError(f"nothing is known of the signature of {one.element_id!r}")
    return Signature(
        element_id=one.element_id,
        signer=one.signer[:SIGNER_CHARACTERS_MAX],
        certificate_serial=str(one.certificate.serial_number),
        signed_at=one.signing_time,
        certificate_sha256=fingerprint(one.certificate),
        form=one.form,
        mandate=None if mandate is None else _held(mandate),
    )


def _held(mandate: Mandate) -> MandateHeld:
    return MandateHeld(
        mandate_id=mandate.mandate_id,
        person=mandate.person,
        name=mandate.name,
        act=mandate.act,
        valid_from=mandate.valid_from,
        valid_until=mandate.last,
    )


def restart(flux: Flux, reason: str) -> list[Fact]:
    """Return the fact that begins a circuit again; none when it is about to begin again already.

    Raises:
        RequestRefusedError: the flux waits for no signature.
    """
    if flux.state is State.DRAFT and SignatureRestarted in flux.past:
        return []  # asked twice
    if not flux.awaits(SignatureRestarted):
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "nothing-to-restart",
            "Aucune signature en cours",
            "Le flux n’attend pas de signature : il n’y a pas de circuit à relancer.",
            extra={"state": flux.state},
        )
    return [SignatureRestarted(reason=reason)]


@dataclass(frozen=True)
class Turn:
    """Whose turn it is: the step, counted from 1, and the absent person that the taker stands in for, if any."""

    step: CircuitStep
    number: int
    on_behalf_of: str = ""


def turn_of(flux: Flux, person: str, replaced: frozenset[str], *, may_sign: bool) -> Turn:
    """Return the step that a person may take now.

    Args:
        flux: waiting for signatures.
        person: the account.
        replaced: the absent people it stands in for today.
        may_sign: it has the role of those who sign.

    Raises:
        NotYoursError: nothing is left to do, or it is for somebody else.
    """
    step = flux.step
    if step is None or step.kind == "seal":
        raise NotYoursError("Rien n’attend d’être visé ou signé dans ce flux : la plateforme poursuit d’elle-même.")
    turn = Turn(step, flux.steps_done + 1)
    if step.kind == "signature" and not may_sign:
        raise NotYoursError(f"L’étape {turn.number} attend une signature : elle est pour un signataire.")
    if not step.any_of or person in step.any_of:
        return turn
    standing_in = sorted(replaced.intersection(step.any_of))
    if standing_in:
        return Turn(step, turn.number, standing_in[0])
    what = {"visa": "le visa", "signature": "la signature"}[step.kind]
    raise NotYoursError(
        f"L’étape {turn.number} sur {len(flux.circuit)} attend {what} de {_any(step.any_of)}, et non le vôtre. "
        "Cette personne peut vous déléguer ses étapes."
    )


def _any(people: Sequence[str]) -> str:
    return people[0] if len(people) == 1 else f"{', '.join(people[:-1])} ou {people[-1]}"

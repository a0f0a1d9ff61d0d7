"""Turns a judgement into the facts to record, with what is known beside the file: the collectivité, other flux."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from pes.controls.catalogue import ALREADY_SENT, BY_CODE, NOMFIC_USED, NOT_REGISTERED
from pes.controls.control import Control
from pes.judge import Judgement, verdict_of, with_policy
from pes.vocabulary import Bordereau, Finding, Header, Severity, Where
from services.validation.identity import named_by
from shared.errors import RequestRefusedError, Why
from shared.facts.collectivite import Identifier, Siret
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.flux import DuplicateAccepted, FluxInvalidated, FluxValidated, SignaturesRejected
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.reservations import Reservation, bordereau_reservation, nomfic_reservation
from shared.facts.values import Document
from shared.wording import identifier

FINDINGS_IN_FACT = 200  # a fact is carried by the bus; the report holds all of them
MESSAGE_CHARACTERS_MAX = 1000
_DOMAINS = {"depense": "dépense", "recette": "recette"}
_WRONG_IDENTITY = frozenset({"pes.header", "pes.siren"})
DUPLICATES = frozenset({NOMFIC_USED.code, ALREADY_SENT.code})
_LET_PASS = {"severity": "warning", "next": "Rien : ce doublon a été accepté."}


@dataclass(frozen=True)
class Holder:
    """The flux that holds a name already; `collectivite` and `state` are as its facts tell."""

    flux_id: UUID
    collectivite: str
    state: State | None


@dataclass(frozen=True)
class Beside:
    """What is kept in the document store beside the facts: the synthèse, and the report when it is long."""

    synthese: Document | None = None
    report: Document | None = None


def of_known_collectivite(
    judgement: Judgement, known: Collection[Identifier], *, collectivite: str, flux_id: UUID | None
) -> Judgement:
    """Add to a judgement what the file names and nobody has registered for the collectivité.

    Args:
        judgement: of the file alone.
        known: what is registered.
        collectivite: the SIREN of whom the file is for.
        flux_id: the flux that it is, for the command that ends this; none when nobody imports it.
    """
    if judgement.header is None or any(one.code in _WRONG_IDENTITY for one in judgement.findings):
        return judgement  # the file does not even say who it is from
    missing = [one for one in named_by(judgement.header) if one not in known]
    if not missing:
        return judgement
    step = f"L’administrateur de la collectivité l’enregistre par : {_command(missing, collectivite, flux_id)}"
    what = f"Sera enregistré pour {collectivite} : {' ; '.join(map(identifier, missing))}."
    then = "Le flux sera contrôlé de nouveau." if flux_id else "Contrôlez ensuite le fichier de nouveau."
    found = [
        _finding(NOT_REGISTERED, _unknown(one, collectivite), _place_of(one)).model_copy(
            update={"next": f"{step}. {what} {then}"}
        )
        for one in missing
    ]
    findings = (*judgement.findings, *found)
    return replace(judgement, findings=findings, verdict=verdict_of(findings))


def names_of(judgement: Judgement, collectivite: str) -> list[Reservation]:
    """Return the names that a flux would take; none when it will not be valid in any case."""
    if judgement.header is None or judgement.verdict != "valid":
        return []
    names = [nomfic_reservation(collectivite, judgement.header)]
    names += [bordereau_reservation(collectivite, judgement.header, one) for one in judgement.bordereaux]
    return list(dict.fromkeys(names))


def in_context(
    judgement: Judgement,
    taken: Mapping[Reservation, Holder],
    *,
    collectivite: str,
    policy: Mapping[str, Severity],
    accepted: Collection[UUID] = (),
) -> Judgement:
    """Add what other flux have to say to a judgement.

    Args:
        judgement: of the file alone.
        collectivite: the SIREN of whom the file is for.
        taken: which other flux hold the names that this one would take.
        policy: how serious each control is, where it is not its default.
        accepted: the flux that this one may repeat, someone answers for it: what they hold is a warning.
    """
    header = judgement.header
    if not taken or header is None:
        return judgement
    found = [*_nomfic_findings(header, taken, collectivite), *_bordereau_findings(judgement, taken, collectivite)]
    serious = with_policy([finding for _, finding in found], policy)
    told = [
        finding.model_copy(update=_LET_PASS) if holder.flux_id in accepted else finding
        for (holder, _), finding in zip(found, serious, strict=True)
    ]
    # Nobody here can answer for the flux of another collectivité, which they may not even be told of.
    ours = sorted({holder.flux_id for holder, _ in found if holder.collectivite == collectivite})
    findings = (*judgement.findings, *told)
    bordereaux = tuple(
        one.model_copy(update={"is_repeated": bordereau_reservation(collectivite, header, one) in taken})
        for one in judgement.bordereaux
    )
    verdict = verdict_of(findings)
    return replace(judgement, findings=findings, verdict=verdict, bordereaux=bordereaux, repeats=tuple(ours))


def infected(name: str) -> Judgement:
    """Return the judgement of a file in which the antivirus found something."""
    control = BY_CODE["antivirus.infected"]
    return Judgement("invalid", (_finding(control, f"L’antivirus a trouvé « {name} » dans le fichier.", Where()),))


def decide(flux: Flux, judgement: Judgement, beside: Beside) -> list[Fact]:
    """Turn a judgement, in its context, into the facts to record."""
    if flux.state is not State.IMPORTED:
        return []  # a redelivery: it has been judged already, or cancelled meanwhile
    findings = for_fact(judgement.findings)
    if judgement.verdict != "valid" or judgement.header is None:
        return [
            FluxInvalidated(
                findings=findings,
                header=judgement.header,
                pack=judgement.pack,
                report=beside.report,
                synthese=beside.synthese,
                repeats=judgement.repeats,
            )
        ]
    return [
        FluxValidated(
            header=judgement.header,
            bordereaux=judgement.bordereaux,
            attachments=judgement.attachments,
            signature_required=judgement.signature_required,
            warnings=findings,
            pack=judgement.pack,
            report=beside.report,
            synthese=beside.synthese,
            nomfic_is_reused=any(finding.code == NOMFIC_USED.code for finding in judgement.findings),
        )
    ]


def accept(flux: Flux, codes: Sequence[str], reason: str) -> list[Fact]:
    """Return the facts that let a flux pass although those that it was last refused for hold what it holds.

    Args:
        flux: as its facts tell it.
        codes: the blocking findings that it ended with.
        reason: why, in the words of whoever answers for it.

    Raises:
        RequestRefusedError: it is not in error for being a duplicate alone.
    """
    if DuplicateAccepted in flux.past and flux.state is not State.INVALID:
        return []  # asked twice
    if flux.state is State.INVALID and codes and DUPLICATES.issuperset(codes):
        return [DuplicateAccepted(reason=reason, repeats=flux.repeats)]
    others = sorted(set(codes) - DUPLICATES)
    because = f" ; ses anomalies sont à corriger d’abord ({', '.join(others)})" if others else ""
    raise RequestRefusedError(
        Why.AS_THINGS_STAND,
        "not-a-duplicate",
        "Rien à accepter",
        f"Le flux est dans l’état « {flux.on_screen} »{because}. Seul un flux en erreur pour doublon peut être "
        "accepté ainsi.",
    )


def blocking(past: Sequence[Event]) -> list[Finding]:
    """Return what keeps a flux in error: the findings of the last fact that says so."""
    for event in reversed(past):
        if isinstance(event.data, FluxInvalidated | SignaturesRejected):
            return [finding for finding in event.data.findings if finding.severity == "blocking"]
    return []


def for_fact(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that a fact carries: so many, the blocking ones first, each of a bounded length."""
    kept = list(findings)
    if len(kept) > FINDINGS_IN_FACT:
        kept = sorted(kept, key=lambda finding: finding.severity != "blocking")[: FINDINGS_IN_FACT - 1]
        left = len(findings) - len(kept)
        message = f"Et {left} autres anomalies : elles sont toutes dans le rapport."
        kept.append(_finding(BY_CODE["pes.many-findings"], message, Where()))
    return tuple(kept)


def needs_report(findings: Sequence[Finding]) -> bool:
    """Say whether the findings are too many for a fact."""
    return len(findings) > FINDINGS_IN_FACT


def _unknown(one: Identifier, collectivite: str) -> str:
    return f"« {identifier(one)} » n’est pas enregistré pour la collectivité {collectivite}."


def _place_of(one: Identifier) -> Where:
    element = "IdColl" if isinstance(one, Siret) else "CodCol"
    return Where(element=element, xpath=f"/*/EnTetePES/{element}")


def _command(missing: Sequence[Identifier], collectivite: str, flux_id: UUID | None) -> str:
    """Write the command that registers what is missing."""
    if flux_id is not None:
        return f'heliotrope collectivites identifiers add {flux_id} --reason "…"'
    options = " ".join(
        f"--siret {one.siret}" if isinstance(one, Siret) else f"--budget {one.id_post}/{one.cod_col}/{one.cod_bud}"
        for one in missing
    )
    return f'heliotrope collectivites identifiers add --collectivite {collectivite} {options} --reason "…"'


def _nomfic_findings(
    header: Header, taken: Mapping[Reservation, Holder], collectivite: str
) -> Iterator[tuple[Holder, Finding]]:
    holder = taken.get(nomfic_reservation(collectivite, header))
    if holder is not None:
        told = _told(holder, collectivite)
        message = f"Le NomFic « {header.nomfic} » a déjà servi pour le CodCol {header.cod_col} : {told}."
        where = Where(element="NomFic", xpath="/*/Enveloppe/Parametres/NomFic")
        yield holder, _finding(NOMFIC_USED, message, where)


def _bordereau_findings(
    judgement: Judgement, taken: Mapping[Reservation, Holder], collectivite: str
) -> Iterator[tuple[Holder, Finding]]:
    header = judgement.header
    for one in judgement.bordereaux if header else ():
        holder = taken.get(bordereau_reservation(collectivite, header, one)) if header else None
        if holder is not None:
            yield holder, _finding(ALREADY_SENT, _repeated(one, holder, collectivite), _where(one))


def _repeated(one: Bordereau, holder: Holder, collectivite: str) -> str:
    named = f"Le bordereau {one.number} de type {one.type} ({_DOMAINS[one.domain]}, exercice {one.exercice})"
    return f"{named} est déjà dans un autre flux : {_told(holder, collectivite)}."


def _where(one: Bordereau) -> Where:
    return Where(element="Bordereau", domain=one.domain, bordereau=one.number)


def _told(holder: Holder, collectivite: str) -> str:
    """Say which flux holds a name, to those who may know."""
    if holder.collectivite != collectivite:
        return "c’est un flux d’une autre collectivité"
    state = f", « {holder.state.on_screen} »" if holder.state else ""
    return f"c’est le flux {holder.flux_id}{state}"


def _finding(control: Control, message: str, where: Where) -> Finding:
    return Finding(
        source="control",
        code=control.code,
        severity=control.severity,
        message=message[:MESSAGE_CHARACTERS_MAX],
        where=where,
        who=control.who,
        next=control.next,
    )

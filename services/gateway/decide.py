"""Decides what leaves, when, and what to think of a sending that was cut off.

Theory of operation. The promise is that nothing is sent twice. No protocol gives it: between the last byte and our
own record of it, a cable can be pulled. So each attempt is recorded, with its remote name, *before* the first byte
leaves; and an attempt whose end nobody recorded is settled by evidence:

- the whole file is in the entry directory: it was sent;
- a shorter one is there: it is not complete, DGFiP has not taken it; sending again overwrites it;
- none is there: either DGFiP has taken it, or it never came. Nobody can tell: the sending is *held*. A reply from
  DGFiP settles it. Without any, the policy says who decides: `hold`, a person (production: DGFiP's replies take
  hours); `resend`, ourselves, once `in_doubt_seconds` are over: for the local platform, whose simulator answers at
  once, so that silence is proof, as long as no reply waits to be collected.

A flux whose collectivité chose a channel that we do not have does not leave: it is held until it is one of ours.
Until the first attempt a flux may be withdrawn (`ingest`): of the attempt and the withdrawal, one alone is recorded.

Each attempt is also told in a *marker* outside the journal, before the first byte: a database restored from a backup
knows nothing of what left since. An attempt that only its marker knows is recorded anew, so that it has its number,
can be answered, and forbids to withdraw the flux; unless the whole file is found, it is held for a person or a reply.
Silence is no proof then, whatever the policy: the reply may have been collected before the restore.

A *refusal* by the server is another thing: it does not have the file, which is tried again later and later, then
waits for a person: whatever is wrong will not mend itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from shared.errors import RequestRefusedError, Why
from shared.facts import flux as facts
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import Flux, State, fold
from shared.facts.values import REASON_CHARACTERS_MIN

InDoubtPolicy = Literal["hold", "resend"]

IN_DOUBT = (
    "La liaison avec la DGFiP a été coupée pendant l’envoi, et le fichier n’est pas dans son répertoire d’entrée : "
    "il a pu être pris en charge, ou n’être jamais arrivé. Rien n’est renvoyé tant que ce doute n’est pas levé."
)
RESTORED = (
    "La base de la plateforme a été restaurée d’une sauvegarde : son journal ne connaissait pas l’envoi n° {attempt} "
    "de ce flux, tenté le {at:%d/%m/%Y à %H:%M:%S} (UTC) sous le nom « {name} », que seule sa marque, gardée avec "
    "les documents, fait connaître. La DGFiP a pu prendre ce fichier en charge. Rien n’est renvoyé tant que ce doute "
    "n’est pas levé."
)
NO_REPLY = "Aucune réponse de la DGFiP en {seconds:g} s : le fichier n’est pas arrivé, il est envoyé de nouveau."
OTHER_CHANNEL = (
    "La collectivité envoie par le canal « {channel} », que cette plateforme n’a pas (elle a : {ours}) : rien "
    "ne part. L’envoi reprend de lui-même quand l’hébergeur change ce choix (heliotrope collectivites channel)."
)
NOTHING_ATTEMPTED = "D’ici là, le flux peut être annulé (heliotrope flux cancel), puis importé de nouveau."
OUR_CHANNEL = "La collectivité envoie par le canal « {channel} », que cette plateforme a."
REASON_REQUIRED = (
    "L’envoi est suspendu. {cause} Si vous savez que la DGFiP n’a pas reçu ce fichier, demandez de nouveau l’envoi "
    'en donnant votre motif : {{"reason": "…"}}. Il sera conservé dans l’historique du flux.'
)
VERSION_REQUIRED = (
    "L’envoi est suspendu. {cause} Dites de quelle suspension vous décidez : la version du flux que vous avez "
    'consulté (« version »), avec votre motif : {{"reason": "…", "version": …}}.'
)
TOO_EARLY = (
    "Le flux est dans l’état « {state} » : il ne peut être envoyé qu’une fois contrôlé et, s’il le faut, signé. "
    "Attendez qu’il soit « À envoyer », puis recommencez."
)
NEVER = (
    "Le flux est dans l’état « {state} » et ne sera plus envoyé. Corrigez-le dans le logiciel financier, puis "
    "importez-le comme un nouveau flux."
)
TRY_AGAIN = "La DGFiP n’a pas le fichier (son serveur l’avait refusé) : nouvel essai."

_TOO_EARLY = frozenset({State.IMPORTED, State.DRAFT, State.TO_SIGN, State.SIGNATURE_REFUSED})
_SENT = frozenset({State.AWAITING_ACK, State.ACKNOWLEDGED})


@dataclass(frozen=True)
class Rules:
    """The bounds that an operator sets; see the settings of the same names."""

    in_doubt_seconds: float
    in_doubt_policy: InDoubtPolicy
    refusals_max: int
    refused_retry_seconds: float


@dataclass(frozen=True)
class Marker:
    """An attempt as it was told outside the journal, before its first byte left."""

    attempt: facts.TransmissionAttempted
    at: datetime


@dataclass(frozen=True)
class Evidence:
    """What is known outside the journal.

    Attributes:
        unrecorded: the markers of attempts that the journal does not know, in order.
        size_on_server: of the file of the last attempt (the last of `unrecorded`, or the one in flight), in the entry
            directory; None when it is not there.
        is_unsent: this process knows that no byte of the attempt in flight has left.
        has_unread_replies: replies wait to be collected: one of them may be the answer to this very file.
    """

    unrecorded: tuple[Marker, ...] = ()
    size_on_server: int | None = None
    is_unsent: bool = False
    has_unread_replies: bool = False


@dataclass(frozen=True)
class Plan:
    """What to record, and what to upload once it is recorded."""

    record: tuple[Fact, ...] = ()
    upload: facts.TransmissionAttempted | None = None


@dataclass(frozen=True)
class Outcome:
    """How an upload of this process ended: the server has the whole file, or `refusal` says why it has not."""

    attempt: facts.TransmissionAttempted
    refusal: str = ""


def is_due(flux: Flux) -> bool:
    """Say whether a flux is to be sent now, by itself."""
    if flux.state is State.READY:
        return flux.imported is not None and flux.imported.send == "when_ready"
    return flux.state is State.SENDING and flux.held is None


def plan(
    flux: Flux,
    evidence: Evidence,
    *,
    channel: str,
    ours: Collection[str],
    remote_name: str,
    now: datetime,
    rules: Rules,
) -> Plan:
    """Decide what to do with a flux, the servers being there.

    Args:
        flux: as its facts tell it.
        evidence: what is known of an attempt in flight.
        channel: that its collectivité's flux leave by.
        ours: the channels that there are.
        remote_name: what its document is called on the server.
        now: the instant of the decision.
        rules: what an operator set.
    """
    if not is_due(flux) or flux.document is None:
        return Plan()  # a redelivery, or it waits for someone
    requested = (facts.TransmissionRequested(document=flux.document),) if flux.state is State.READY else ()
    if evidence.unrecorded:
        return Plan((*requested, *_recovered(evidence.unrecorded, evidence.size_on_server)))
    if flux.is_in_flight and flux.attempt is not None and not evidence.is_unsent:
        if evidence.size_on_server == flux.attempt.document.size:
            return Plan((_found(flux.attempt),))
        if evidence.size_on_server is None:
            return Plan((_in_doubt(flux.attempt, now=now, rules=rules),))
        channel = flux.attempt.channel  # whatever was chosen since: what lies there is overwritten
    number = last_number(flux) + 1
    if channel not in ours:
        cause = OTHER_CHANNEL.format(channel=channel, ours=", ".join(f"« {name} »" for name in sorted(ours)))
        if flux.may_be_cancelled:
            cause = f"{cause} {NOTHING_ATTEMPTED}"
        return Plan((*requested, facts.TransmissionHeld(attempt=number, cause=cause, waits_for="channel")))
    attempt = facts.TransmissionAttempted(
        attempt=number,
        channel=channel,
        remote_name=remote_name,
        document=flux.document,
    )
    return Plan((*requested, attempt), attempt)


def last_number(flux: Flux) -> int:
    """Return the number of the last attempt that the journal knows; 0 before the first."""
    return flux.attempt.attempt if flux.attempt else 0


def conclude(past: Sequence[Fact], outcome: Outcome, *, now: datetime, rules: Rules) -> list[Fact]:
    """Return the facts that record how an upload ended; DGFiP's answer may have been recorded first."""
    flux = fold(past)
    attempt = outcome.attempt
    if not outcome.refusal:
        if not flux.awaits(facts.FluxTransmitted):
            return []
        return [facts.FluxTransmitted(remote_name=attempt.remote_name, document=attempt.document)]
    if not is_due(flux) or not flux.is_in_flight or flux.attempt != attempt:
        return []  # settled meanwhile; or another process attempts it again, and its attempt is not ours to end
    refusals = _refusals(past) + 1
    failed = facts.TransmissionFailed(attempt=attempt.attempt, cause=outcome.refusal)
    cause = f"Le serveur de la DGFiP a refusé le fichier, qu’il n’a donc pas reçu : {outcome.refusal}"
    if refusals >= rules.refusals_max:
        return [failed, facts.TransmissionHeld(attempt=attempt.attempt, cause=f"{cause} (refus n° {refusals}).")]
    again = now + timedelta(seconds=rules.refused_retry_seconds * 2 ** (refusals - 1))
    return [failed, facts.TransmissionHeld(attempt=attempt.attempt, cause=f"{cause}.", until=again)]


def is_hold_over(flux: Flux, *, now: datetime, rules: Rules) -> bool:
    """Say whether a hold ends by itself now."""
    if flux.held is None or flux.held.until is None or now < flux.held.until:
        return False
    return not flux.is_in_flight or rules.in_doubt_policy == "resend"


def waits_for_channel(flux: Flux) -> bool:
    """Say whether a flux is held because its collectivité chose a channel that we do not have."""
    return flux.held is not None and flux.held.waits_for == "channel"


def on_channel(flux: Flux, *, channel: str, ours: Collection[str]) -> list[Fact]:
    """Return the facts that end the hold of a flux that waits for its channel, once this is one of ours."""
    if not waits_for_channel(flux) or channel not in ours:
        return []
    return [facts.TransmissionReleased(reason=OUR_CHANNEL.format(channel=channel))]


def end_hold(flux: Flux, evidence: Evidence, *, now: datetime, rules: Rules) -> list[Fact]:
    """Return the facts that end a hold whose time is over."""
    if not is_hold_over(flux, now=now, rules=rules):
        return []
    if not flux.is_in_flight:
        return [facts.TransmissionReleased(reason=TRY_AGAIN)]
    if flux.attempt is not None and evidence.size_on_server == flux.attempt.document.size:
        return [_found(flux.attempt)]
    if evidence.has_unread_replies:
        return []
    return [facts.TransmissionReleased(reason=NO_REPLY.format(seconds=rules.in_doubt_seconds))]


def request(flux: Flux, reason: str, seen: int | None = None) -> list[Fact]:
    """Return the facts of a person's decision to send; none when it is done, or under way.

    Args:
        flux: as it is.
        reason: why a suspended sending is to be done again.
        seen: the version of the flux that the reason is about. A reason is given for one doubt: it must not end the
            next one, which nobody has looked at.

    Raises:
        RequestRefusedError: too early, or never; or a suspended sending needs a reason, and what it is about.
    """
    if flux.state is State.READY and flux.document is not None:
        return [facts.TransmissionRequested(document=flux.document)]
    if flux.held is not None:
        if len(reason) < REASON_CHARACTERS_MIN:
            detail = REASON_REQUIRED.format(cause=flux.held.cause)
            raise RequestRefusedError(Why.UNUSABLE, "reason-required", "Motif nécessaire", detail)
        if seen is None:
            detail = VERSION_REQUIRED.format(cause=flux.held.cause)
            extra: dict[str, object] = {"version": flux.version}
            raise RequestRefusedError(Why.UNUSABLE, "version-required", "Version nécessaire", detail, extra=extra)
        return [facts.TransmissionReleased(reason=reason)]
    if flux.state is State.SENDING or flux.state in _SENT:
        return []
    is_early = flux.state in _TOO_EARLY
    slug, title = ("too-early", "Envoi pas encore possible") if is_early else ("not-sendable", "Envoi impossible")
    detail = (TOO_EARLY if is_early else NEVER).format(state=flux.on_screen)
    raise RequestRefusedError(Why.AS_THINGS_STAND, slug, title, detail)


def _found(attempt: facts.TransmissionAttempted) -> facts.FluxTransmitted:
    return facts.FluxTransmitted(
        remote_name=attempt.remote_name, document=attempt.document, evidence="found_on_server"
    )


def _recovered(markers: Sequence[Marker], size_on_server: int | None) -> tuple[Fact, ...]:
    """Record the attempts that a restored journal has lost, and what is to be thought of the last."""
    last = markers[-1]
    cause = RESTORED.format(attempt=last.attempt.attempt, at=last.at.astimezone(UTC), name=last.attempt.remote_name)
    is_there = size_on_server == last.attempt.document.size
    end = _found(last.attempt) if is_there else facts.TransmissionHeld(attempt=last.attempt.attempt, cause=cause)
    return (*(marker.attempt for marker in markers), end)


def _in_doubt(attempt: facts.TransmissionAttempted, *, now: datetime, rules: Rules) -> facts.TransmissionHeld:
    """Hold an attempt of which nobody knows the end; only where silence is proof does the hold end by itself."""
    until = now + timedelta(seconds=rules.in_doubt_seconds) if rules.in_doubt_policy == "resend" else None
    return facts.TransmissionHeld(attempt=attempt.attempt, cause=IN_DOUBT, until=until)


def _refusals(past: Sequence[Fact]) -> int:
    """Count the refusals since a person last had to decide."""
    count = 0
    for fact in past:
        if isinstance(fact, facts.TransmissionFailed):
            count += 1
        elif isinstance(fact, facts.TransmissionHeld) and fact.until is None:
            count = 0
    return count

"""The lifecycle of a flux: which fact may follow which, and what state a flux is in.

Theory of operation. A flux is nothing but its facts. `fold` plays them in order through `TRANSITIONS` and yields
a `Flux`: the state, the version (how many facts), and the few values that decisions need. Nobody stores a state
of their own: a service loads the facts, folds, and asks `flux.awaits(SomeFact)`:

- yes: the fact may be recorded now;
- no: the flux is past that point, so this is a redelivery and there is nothing to do;
- `UnexpectedFactError`: the fact comes too early, or can never come.

A flux may be withdrawn until its first attempt is recorded: no byte leaves before that, and one may have left after.

FluxTransmitted may arrive after the answer it should have preceded (DGFiP can be faster than our own record of the
sending): it is kept, and changes no state then.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self
from uuid import UUID

from pes.vocabulary import Header, OnScreen
from shared.errors import UnexpectedFactError
from shared.facts import flux as facts
from shared.facts.fact import Fact
from shared.facts.lifecycles.playing import play
from shared.facts.values import CircuitStep, Document, Signature, StepKind


class State(OnScreen):
    """Where a flux is, for those who use it."""

    IMPORTED = "imported", "En cours de contrôle"
    INVALID = "invalid", "En erreur"
    DRAFT = "draft", "Signature en préparation"
    TO_SIGN = "to_sign", "À signer"
    SIGNATURE_REFUSED = "signature_refused", "Signature refusée"
    READY = "ready", "À envoyer"
    SENDING = "sending", "Envoi en cours"
    AWAITING_ACK = "awaiting_ack", "En attente d’AR"
    ACKNOWLEDGED = "acknowledged", "Acquitté"
    PARTIALLY_REJECTED = "partially_rejected", "Acquitté partiellement"
    REJECTED = "rejected", "Rejeté"
    CANCELLED = "cancelled", "Annulé"


AT_A_VISA_ON_SCREEN = {State.TO_SIGN: "À viser", State.SIGNATURE_REFUSED: "Visa refusé"}
HELD_ON_SCREEN = "Envoi suspendu"
SET_ASIDE_ON_SCREEN = "Mis de côté"  # by a version that cannot read all of its facts

_VERDICTS: dict[type[Fact], State] = {
    facts.FluxAcknowledged: State.ACKNOWLEDGED,
    facts.FluxPartiallyRejected: State.PARTIALLY_REJECTED,
    facts.FluxRejected: State.REJECTED,
}

# A fact that leads to two states (FluxValidated) is settled in `_state_after`; the table names the usual one.
TRANSITIONS: dict[State | None, dict[type[Fact], State]] = {
    None: {facts.FluxImported: State.IMPORTED},
    State.IMPORTED: {
        facts.FluxValidated: State.DRAFT,
        facts.FluxInvalidated: State.INVALID,
        facts.FluxCancelled: State.CANCELLED,
    },
    # Only what was refused for what stands beside the file is judged anew; anything else would be refused again.
    State.INVALID: {
        facts.DuplicateAccepted: State.IMPORTED,
        facts.IdentifiersCompleted: State.IMPORTED,
        facts.FluxCancelled: State.CANCELLED,
    },
    State.DRAFT: {
        facts.SignatureRequested: State.TO_SIGN,
        facts.SignaturesRejected: State.INVALID,
        facts.FluxSigned: State.READY,
        facts.FluxCancelled: State.CANCELLED,
    },
    State.TO_SIGN: {
        facts.VisaGiven: State.TO_SIGN,
        facts.BordereauxSigned: State.TO_SIGN,
        facts.SignatureRefused: State.SIGNATURE_REFUSED,
        facts.SignatureRestarted: State.DRAFT,
        facts.FluxSigned: State.READY,
        facts.SignaturesRejected: State.INVALID,
        facts.FluxCancelled: State.CANCELLED,
    },
    State.SIGNATURE_REFUSED: {facts.SignatureRestarted: State.DRAFT, facts.FluxCancelled: State.CANCELLED},
    State.READY: {facts.TransmissionRequested: State.SENDING, facts.FluxCancelled: State.CANCELLED},
    State.SENDING: {
        facts.TransmissionAttempted: State.SENDING,
        facts.TransmissionFailed: State.SENDING,
        facts.TransmissionHeld: State.SENDING,
        facts.TransmissionReleased: State.SENDING,
        facts.FluxCancelled: State.CANCELLED,  # before the first attempt only: see `may_be_cancelled`
        facts.FluxTransmitted: State.AWAITING_ACK,
        facts.ReplyReceived: State.SENDING,
        **_VERDICTS,
    },
    State.AWAITING_ACK: {facts.ReplyReceived: State.AWAITING_ACK, **_VERDICTS},
    # A second, different reply is kept and never replaces the first.
    State.ACKNOWLEDGED: {facts.ReplyReceived: State.ACKNOWLEDGED, facts.FluxTransmitted: State.ACKNOWLEDGED},
    State.PARTIALLY_REJECTED: {
        facts.ReplyReceived: State.PARTIALLY_REJECTED,
        facts.FluxTransmitted: State.PARTIALLY_REJECTED,
    },
    State.REJECTED: {facts.ReplyReceived: State.REJECTED, facts.FluxTransmitted: State.REJECTED},
    State.CANCELLED: {},
}


# The facts that lead back: what lies behind them is not ahead of a flux unless a person decides so.
_BACK = frozenset({facts.DuplicateAccepted, facts.IdentifiersCompleted, facts.SignatureRestarted})


@dataclass(frozen=True)
class Flux:
    """A flux as its facts tell it.

    Attributes:
        state: None before the first fact.
        version: how many facts; what an append must expect.
        document: the bytes in force: as imported, then as signed.
        circuit: the steps to take before it may leave, once signatures were requested.
        steps_done: how many of them were taken.
        signatures: those put in so far, by the circuit or, at the end, all of them.
        validated: what validation found, once it has passed.
        repeats: the other flux that it was refused for, when it was last refused.
        accepted: other flux that it may repeat: someone answers for it.
        attempt: the last transmission attempt, whose outcome is unknown while `is_in_flight`.
        is_in_flight: an attempt was recorded and nothing says yet how it ended.
        held: why and until when nothing leaves, while the sending is suspended.
    """

    state: State | None = None
    version: int = 0
    imported: facts.FluxImported | None = None
    document: Document | None = None
    header: Header | None = None
    validated: facts.FluxValidated | None = None
    repeats: tuple[UUID, ...] = ()
    accepted: frozenset[UUID] = frozenset()
    circuit: tuple[CircuitStep, ...] = ()
    steps_done: int = 0
    signatures: tuple[Signature, ...] = ()
    attempt: facts.TransmissionAttempted | None = None
    is_in_flight: bool = False
    is_transmitted: bool = False
    held: facts.TransmissionHeld | None = None
    past: frozenset[type[Fact]] = frozenset()

    def awaits(self, fact: type[Fact]) -> bool:
        """Say whether `fact` may be recorded now.

        Returns:
            True: it may. False: the flux is past it (it was recorded, or the flux ended otherwise).

        Raises:
            UnexpectedFactError: it is too early for this fact.
        """
        if (fact is facts.FluxTransmitted and self.is_transmitted) or self._is_too_late_for(fact):
            return False
        if fact in TRANSITIONS[self.state]:
            return True
        if fact in self.past or not _is_ahead(self.state, fact):
            return False
        raise UnexpectedFactError(fact.__name__, self.state)

    @property
    def step(self) -> CircuitStep | None:
        """The step of the circuit that comes next; None when none is left, or there is no circuit yet."""
        return self.circuit[self.steps_done] if self.steps_done < len(self.circuit) else None

    @property
    def left_to_sign(self) -> tuple[str, ...]:
        """The XML Ids that the next step still has to sign."""
        signed = {signature.element_id for signature in self.signatures}
        return tuple(one for one in self.step.elements if one not in signed) if self.step else ()

    @property
    def on_screen(self) -> str:
        """The state in the words of the screens; empty before the first fact."""
        return on_screen(self.state, self.stopped_at, is_held=self.held is not None) if self.state else ""

    @property
    def stopped_at(self) -> StepKind | Literal[""]:
        """The kind of step that it waits at, or was refused at; empty when it is at none."""
        return self.step.kind if self.step and self.state in AT_A_VISA_ON_SCREEN else ""

    @property
    def may_be_cancelled(self) -> bool:
        """True until the first attempt to send it: before that, no byte of it has left."""
        return facts.FluxCancelled in TRANSITIONS[self.state] and not self._is_too_late_for(facts.FluxCancelled)

    def evolve(self, fact: Fact) -> Self:
        """Return the flux after `fact`.

        Raises:
            UnexpectedFactError: the table has no such transition, or it is too late for it.
        """
        if type(fact) not in TRANSITIONS[self.state] or self._is_too_late_for(type(fact)):
            raise UnexpectedFactError(type(fact).__name__, self.state)
        changes: dict[str, object] = {
            "state": _state_after(self.state, fact),
            "version": self.version + 1,
            "past": self.past | {type(fact)},
        }
        changes |= self._judged(fact) | self._signed(fact) | self._sent(fact)
        return replace(self, **changes)  # type: ignore[arg-type]  # the names are checked by the test of the table

    def _is_too_late_for(self, fact: type[Fact]) -> bool:
        return fact is facts.FluxCancelled and self.attempt is not None

    def _judged(self, fact: Fact) -> dict[str, object]:
        match fact:
            case facts.FluxImported():
                return {"imported": fact, "document": fact.document}
            case facts.FluxValidated():
                return {"validated": fact, "header": fact.header}
            case facts.FluxInvalidated():
                return {"header": fact.header, "repeats": fact.repeats}
            case facts.DuplicateAccepted():
                return {"accepted": self.accepted | set(fact.repeats)}
            case _:
                return {}

    def _signed(self, fact: Fact) -> dict[str, object]:
        match fact:
            case facts.SignatureRequested():
                circuit = fact.circuit or (CircuitStep(kind="signature", elements=fact.elements),)
                return {"circuit": circuit, "steps_done": 0, "signatures": ()}
            case facts.VisaGiven():
                return {"steps_done": self.steps_done + 1}
            case facts.BordereauxSigned():
                signatures = (*self.signatures, *fact.signatures)
                signed = {signature.element_id for signature in signatures}
                is_done = self.step is not None and signed.issuperset(self.step.elements)
                steps_done = self.steps_done + is_done
                return {"document": fact.document, "signatures": signatures, "steps_done": steps_done}
            case facts.SignatureRestarted():
                imported = self.imported.document if self.imported else None
                return {"document": imported, "circuit": (), "steps_done": 0, "signatures": ()}
            case facts.FluxSigned():
                return {"document": fact.document, "signatures": fact.signatures}
            case _:
                return {}

    def _sent(self, fact: Fact) -> dict[str, object]:
        match fact:
            case facts.TransmissionAttempted():
                return {"attempt": fact, "is_in_flight": True, "held": None}
            case facts.TransmissionFailed():
                return {"is_in_flight": False}
            case facts.TransmissionHeld():
                return {"held": fact}
            case facts.TransmissionReleased() | facts.FluxTransmitted():
                is_transmitted = self.is_transmitted or isinstance(fact, facts.FluxTransmitted)
                return {"is_in_flight": False, "is_transmitted": is_transmitted, "held": None}
            case (
                facts.FluxAcknowledged()
                | facts.FluxPartiallyRejected()
                | facts.FluxRejected()
                | facts.FluxCancelled()
            ):
                return {"held": None}  # DGFiP has it, or never will: nothing waits any more
            case _:
                return {}


def on_screen(state: State, step: StepKind | Literal[""], *, is_held: bool) -> str:
    """Return a state in the words of the screens: what is waited for, or was refused, is what the step is."""
    if is_held:
        return HELD_ON_SCREEN
    return AT_A_VISA_ON_SCREEN.get(state, state.on_screen) if step == "visa" else state.on_screen


def fold(facts: Iterable[Fact]) -> Flux:
    """Play facts in order, from nothing.

    Raises:
        MisplacedFactError: the facts contradict the table; the history was not written by this code.
    """
    return play(Flux(), facts)


def _state_after(state: State | None, fact: Fact) -> State:
    if isinstance(fact, facts.FluxValidated) and not fact.signature_required:
        return State.READY
    return TRANSITIONS[state][type(fact)]


def states_ahead(state: State | None) -> frozenset[State]:
    """Return every state that the table still leads to from this one, unless a person decides to lead it back."""
    seen: set[State] = set()
    to_visit = [state]
    while to_visit:
        for step, following in TRANSITIONS[to_visit.pop()].items():
            if step not in _BACK and following not in seen:
                seen.add(following)
                to_visit.append(following)
    return frozenset(seen)


def _is_ahead(state: State | None, fact: type[Fact]) -> bool:
    return any(fact in TRANSITIONS[here] for here in (state, *states_ahead(state)))

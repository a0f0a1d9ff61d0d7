"""What administrators and operators decide about signatures, said as they record it: for tests of what follows."""

from datetime import datetime

from services.signature.circuits import Circuit, Delegation
from services.signature.mandates import Mandate
from shared.facts.collectivite import (
    CircuitSet,
    CollectiviteOpened,
    DelegationGiven,
    MandateGranted,
    StepSet,
)
from shared.facts.fact import Fact
from shared.facts.streams import EVERY_COLLECTIVITE, decisions_stream
from shared.journal.history import History
from tests import examples as an
from tests.recording import begun
from tests.signing import NOW


async def say(
    history: History, fact: Fact, *, collectivite: str = an.collectivite, by: str = "karim", at: datetime = NOW
) -> None:
    """Record a fact about a collectivité (`*`: about all of them)."""
    is_for_all = collectivite == EVERY_COLLECTIVITE
    stream = decisions_stream(collectivite)
    past = await history.load(stream.id)
    facts = [fact] if past or is_for_all else [CollectiviteOpened(siren=collectivite, reason="Adhésion"), fact]
    events = [begun(one, stream=stream, collectivite=collectivite, actor=by, at=at) for one in facts]
    await history.append(events, expected_version=len(past))


async def grant(history: History, mandate: Mandate) -> None:
    """Record a mandate."""
    fact = MandateGranted(**{name: getattr(mandate, name) for name in MandateGranted.model_fields if name != "kind"})
    await _recorded(history, fact, mandate)


async def delegate(history: History, delegation: Delegation) -> None:
    """Record a delegation."""
    members = {name: getattr(delegation, name) for name in DelegationGiven.model_fields if name != "kind"}
    await _recorded(history, DelegationGiven(**members), delegation)


async def set_circuit(history: History, circuit: Circuit) -> None:
    """Record a circuit."""
    steps = tuple(StepSet.model_validate(step, from_attributes=True) for step in circuit.steps)
    fact = CircuitSet(flux_kind=circuit.flux_kind, steps=steps, reason=circuit.reason)
    await say(
        history,
        fact,
        collectivite=circuit.collectivite,
        by=circuit.changed_by or "karim",
        at=circuit.changed_at or NOW,
    )


async def _recorded(history: History, fact: Fact, entry: Mandate | Delegation) -> None:
    by, at = entry.recorded_by or "karim", entry.recorded_at or NOW
    await say(history, fact, collectivite=entry.collectivite, by=by, at=at)

"""What `ack` does with a reply that was collected and read."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from services.ack.decide import Candidate, Decision, Reply, decide
from shared.facts.envelope import Event, new_id
from shared.facts.streams import UNATTRIBUTED, reply_stream
from shared.journal.history import History
from shared.journal.reading import read_flux

ACTOR = "dgfip"


async def on_reply(reply: Reply, *, history: History, now: Callable[[], datetime]) -> Decision:
    """Record a reply with the flux that it answers, or in a stream of its own; return what was decided.

    Raises:
        NameTakenError: a reply with the same bytes was recorded before.
        VersionConflictError: the flux moved on meanwhile; call again.
    """
    nomfic = reply.reading.nomfic
    candidates: list[Candidate] = []
    last: dict[UUID, Event | None] = {}
    for flux_id in await history.validated_with_nomfic(nomfic) if nomfic else []:
        read = read_flux(await history.recorded(flux_id))
        candidates.append(Candidate(flux_id, read.flux, is_set_aside=read.set_aside is not None))
        last[flux_id] = read.past[-1] if read.past else None
    decision = decide(reply, candidates)
    if not decision.facts:
        return decision
    target = decision.target
    events = _events(decision, last[target.flux_id] if target else None, now())
    await history.append(events, expected_version=target.flux.version if target else 0)
    return decision


def _events(decision: Decision, last: Event | None, at: datetime) -> list[Event]:
    """Put the facts in envelopes: each follows from the one before, the first of them from the flux's last."""
    events: list[Event] = []
    for fact in decision.facts:
        if last is None:
            last = Event.first(
                fact,
                stream=reply_stream(new_id()),
                collectivite=UNATTRIBUTED,
                actor=ACTOR,
                correlation_id=new_id(),
                at=at,
            )
        else:
            last = last.follow(fact, actor=ACTOR, at=at)
        events.append(last)
    return events

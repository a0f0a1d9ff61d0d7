"""What `ack` does with a reply that was collected and read, and with one that a person linked to a flux."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.ack.acquit import read_reply
from services.ack.decide import UNLINKED, Candidate, Decision, Earlier, Reply, decide, printable, settle
from services.ack.ports import Documents
from shared import metrics
from shared.errors import NameTakenError, VersionConflictError
from shared.facts.envelope import Event, new_id
from shared.facts.flux import ReplyReceived
from shared.facts.lifecycles.flux import fold
from shared.facts.reply import ReplyLinked, ReplyUnlinked
from shared.facts.reservations import REPLY, reply_reservation
from shared.facts.streams import UNATTRIBUTED, reply_stream
from shared.journal.history import History
from shared.journal.reading import read_flux

logger = logging.getLogger(__name__)

DGFIP = "dgfip"
OURSELVES = "ack"


async def on_reply(reply: Reply, *, history: History, now: Callable[[], datetime]) -> Decision:
    """Record a reply with the flux that it answers, or in a stream of its own; return what was decided.

    Raises:
        VersionConflictError: the flux moved on, or the same bytes were recorded, meanwhile; call again.
    """
    reply = replace(reply, earlier=await _earlier(reply, history))
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
    version = target.flux.version if target else 0
    try:
        await history.append(events, expected_version=version)
    except NameTakenError as error:
        if error.kind != REPLY:
            raise
        raise VersionConflictError(events[0].stream_id, version) from error
    return decision


async def on_linked(
    event: Event, linked: ReplyLinked, *, history: History, documents: Documents, now: Callable[[], datetime]
) -> None:
    """Record with a flux what a reply says that somebody linked to it; they answer for it, so they are its actor.

    The reply stays in its stream: the flux's own facts name its document, and lead back to the link. A link that can
    have no effect (any more) is undone, in the reply's stream. Either way one fact is recorded, in one place: it also
    says, when the link is heard again, that nothing is left to do.

    A link may be heard of which the journal knows nothing: it was published before a restoration that lost what it is
    about. It has no effect.
    """
    of_reply = await history.load(event.stream_id)
    past = await history.load(linked.flux_id)
    if not of_reply or not past:
        logger.warning("reply.link_lost", extra={"linked_flux_id": str(linked.flux_id)})
        return
    received = of_reply[0].data
    if not isinstance(received, ReplyReceived):
        raise TypeError("a link is of a reply that was received")
    if of_reply[-1].event_id != event.event_id or any(one.causation_id == event.event_id for one in past):
        return
    content = await documents.read(received.document.sha256)
    reading = await asyncio.to_thread(read_reply, content, received.remote_name)
    flux = fold(one.data for one in past)
    fact = settle(Reply(received.document, received.remote_name, reading), linked.flux_id, flux)
    if isinstance(fact, ReplyUnlinked):
        unlinked = event.follow(fact, actor=OURSELVES, at=now())
        await history.append([unlinked], expected_version=of_reply[-1].version)
        metrics.REPLIES.labels(UNLINKED).inc()
        logger.warning("reply.unlinked", extra={"linked_flux_id": str(linked.flux_id)})
        return
    verdict = past[-1].follow(fact, actor=event.actor, at=now())
    caused = verdict.model_copy(update={"causation_id": event.event_id})
    await history.append([caused], expected_version=flux.version)


async def _earlier(reply: Reply, history: History) -> Earlier | None:
    """Return how the same bytes were recorded before, if they were."""
    remote_name = printable(reply.remote_name)
    first, again = reply_reservation(reply.document), reply_reservation(reply.document, remote_name)
    holders = await history.holders([first, again])
    if first not in holders:
        return None
    past = read_flux(await history.recorded(holders[first])).past
    names = {
        one.data.remote_name
        for one in past
        if isinstance(one.data, ReplyReceived) and one.data.document.sha256 == reply.document.sha256
    }
    return Earlier(holders[first], is_same_file=again in holders or remote_name in names)


def _events(decision: Decision, last: Event | None, at: datetime) -> list[Event]:
    """Put the facts in envelopes: each follows from the one before, the first of them from the flux's last."""
    events: list[Event] = []
    for fact in decision.facts:
        if last is None:
            last = Event.first(
                fact,
                stream=reply_stream(new_id()),
                collectivite=UNATTRIBUTED,
                actor=DGFIP,
                correlation_id=new_id(),
                at=at,
            )
        else:
            last = last.follow(fact, actor=DGFIP, at=at)
        events.append(last)
    return events

"""What `gateway` does when it hears that a flux may leave, and with those whose sending is suspended.

One flux is handled by one task at a time in this process (a lock per flux), and by one process at a time: the
consumer group gives all the facts of a flux to the same process. A process that was lost may go on for a while, so
a file that still grows is left alone. Between processes the expected version still decides who records an
attempt, and who has not recorded it sends nothing.

The marker of an attempt is put after its record and before its first byte. A process that is killed in between leaves
an attempt in flight, as if it were killed after the first byte: the same doubt.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn
from uuid import UUID
from weakref import WeakValueDictionary

from services.gateway import decide
from services.gateway.decide import Evidence, Marker, Outcome, Rules
from services.gateway.names import remote_name
from services.gateway.ports import Channel, Choices, Documents, Markers, UploadRefusedError
from shared import metrics
from shared.errors import UnavailableError, VersionConflictError
from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import TransmissionAttempted, TransmissionHeld
from shared.facts.lifecycles.flux import Flux, fold
from shared.journal.history import History
from shared.journal.reading import read_flux
from shared.retrying import for_ever

logger = logging.getLogger(__name__)

ACTOR = "gateway"
REVIEWED_AT_ONCE_MAX = 200


@dataclass(kw_only=True)
class Sender:
    """Sends each flux through the channel of its collectivité, one of `channels`, by name.

    Attributes:
        usual: the name of the channel of those who chose none.
        p_dest: with `p_appli`, routes the files there: see `names`.
        growth_seconds_max: see `_size_at_rest`.
    """

    history: History
    documents: Documents
    markers: Markers
    channels: Mapping[str, Channel]
    usual: str
    choices: Choices
    now: Callable[[], datetime]
    rules: Rules
    p_dest: str
    p_appli: str
    growth_seconds_max: float
    _locks: WeakValueDictionary[UUID, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)
    # What this process knows and could not record, the journal being away: better than any evidence.
    _outcomes: dict[UUID, Outcome] = field(default_factory=dict, init=False)
    # The event of the attempt of which no byte has left.
    _not_begun: dict[UUID, UUID] = field(default_factory=dict, init=False)
    _next_review: int = field(default=0, init=False)

    async def on_ready(self, event: Event, _: Fact) -> None:
        """Send a flux if it is due: validated without need of a signature, signed, asked for, or released."""
        async with self._alone(event.flux_id):
            if event.flux_id in self._outcomes:
                await self._conclude(event.flux_id)
            past = await self.history.load(event.flux_id)
            flux = _fold(past)
            if not decide.is_due(flux):
                self._not_begun.pop(event.flux_id, None)
                return
            channel = await self._channel_of(event.collectivite)
            if channel in self.channels:
                await self.channels[channel].open()  # while the server is away, nothing is recorded
            evidence = await self._unrecorded(flux, event.flux_id) or await self._evidence(past, flux)
            if evidence.is_unsent:  # its marker may have failed: while none can be put, nothing more is recorded
                await self.markers.put(_attempted(past))
            plan = decide.plan(
                flux,
                evidence,
                channel=channel,
                ours=self.channels,
                remote_name=await self._name(flux),
                now=self.now(),
                rules=self.rules,
            )
            events = _following(past, plan.record, self.now())
            if plan.upload is not None:
                self._not_begun[event.flux_id] = events[-1].event_id
            recorded = await self._append(events, past)
            if evidence.unrecorded:
                logger.warning("gateway.restored", extra={"attempts": len(evidence.unrecorded)})
            if plan.upload is not None:
                await self.markers.put(recorded[-1])
                await self._upload(event.flux_id, plan.upload)

    async def review_holds(self, every_seconds: float) -> NoReturn:
        """Look for ever at the flux whose sending is suspended, and end the holds whose time is over."""
        await for_ever(
            self.review_holds_once,
            outage="gateway.holds_not_reviewed",
            every_seconds=every_seconds,
            pause=every_seconds,
        )

    async def review_holds_once(self) -> None:
        """Look once at the suspended flux, so many at most: the others have their turn next time."""
        held = await self.history.whose_last_fact_is(kind_of(TransmissionHeld))
        metrics.HELD.set(len(held))
        start = self._next_review if self._next_review < len(held) else 0
        self._next_review = start + REVIEWED_AT_ONCE_MAX
        for flux_id in held[start : self._next_review]:
            async with self._alone(flux_id):
                await self._review(flux_id)

    async def _review(self, flux_id: UUID) -> None:
        read = read_flux(await self.history.recorded(flux_id))
        if read.set_aside is not None:
            logger.warning("gateway.set_aside", extra={"set_aside_flux_id": str(flux_id)})
            return
        past, flux = read.past, read.flux
        if decide.waits_for_channel(flux):
            channel = await self._channel_of(past[-1].collectivite)
            await self._settle(past, decide.on_channel(flux, channel=channel, ours=self.channels))
            return
        if not decide.is_hold_over(flux, now=self.now(), rules=self.rules):
            return
        evidence = await self._evidence(past, flux)
        if flux.is_in_flight and flux.attempt is not None:
            evidence = replace(evidence, has_unread_replies=await self._has_unread_replies(flux.attempt))
        await self._settle(past, decide.end_hold(flux, evidence, now=self.now(), rules=self.rules))

    async def _settle(self, past: Sequence[Event], facts: Sequence[Fact]) -> None:
        """Record what ends a hold, unless it has just been ended otherwise."""
        try:
            await self._append(_following(past, facts, self.now()), past)
        except VersionConflictError:
            logger.info("gateway.hold_settled_elsewhere")  # a reply came, or a person decided: as good

    async def _unrecorded(self, flux: Flux, flux_id: UUID) -> Evidence | None:
        """Return what is known of attempts that the journal does not know; None when there are none."""
        told = await self.markers.beyond(flux_id, decide.last_number(flux))
        markers = tuple(
            Marker(event.data, event.occurred_at) for event in told if isinstance(event.data, TransmissionAttempted)
        )
        if not markers:
            return None
        return Evidence(unrecorded=markers, size_on_server=await self._size_of(markers[-1].attempt))

    async def _evidence(self, past: Sequence[Event], flux: Flux) -> Evidence:
        if not flux.is_in_flight or flux.attempt is None:
            return Evidence()
        attempted = _attempted(past)
        if self._not_begun.get(attempted.flux_id) == attempted.event_id:
            return Evidence(is_unsent=True)
        return Evidence(size_on_server=await self._size_of(flux.attempt))

    async def _size_of(self, attempt: TransmissionAttempted) -> int | None:
        channel = self.channels.get(attempt.channel)
        if channel is None:
            return None  # we do not have it any more: nobody can tell
        await channel.open()
        return await self._size_at_rest(channel, attempt)

    async def _has_unread_replies(self, attempt: TransmissionAttempted) -> bool:
        channel = self.channels.get(attempt.channel)
        return channel is None or await channel.has_unread_replies()  # where nobody can look, one may wait

    async def _channel_of(self, siren: str) -> str:
        return await self.choices.channel_of(siren) or self.usual

    async def _size_at_rest(self, channel: Channel, attempt: TransmissionAttempted) -> int | None:
        """Return the size of what lies on the server. An incomplete file must have stopped growing.

        The consumer group gives a flux to another process when ours is lost; but a process that is lost to the bus
        may still be sending. It gives up when the server takes none of its bytes for `growth_seconds_max`, so we wait
        as long before we say that nobody is writing the file.

        Raises:
            UnavailableError: it grows; look again later.
        """
        size = await channel.size_of(attempt.remote_name)
        if size is None or size == attempt.document.size:
            return size
        await asyncio.sleep(self.growth_seconds_max)
        if await channel.size_of(attempt.remote_name) != size:
            raise UnavailableError(channel.name, "the file is being written by another process")
        return size

    async def _name(self, flux: Flux) -> str:
        if flux.document is None or flux.header is None:
            raise RuntimeError("a flux that is due has a document and a header")
        sha1 = await self._fingerprint(flux.document.sha256)
        return remote_name(flux.header, sha1, p_dest=self.p_dest, p_appli=self.p_appli)

    async def _fingerprint(self, sha256: str) -> str:
        """Return the SHA-1 that DGFiP wants in the name; a corrupt document is found here, before it leaves."""
        digest = hashlib.sha1(usedforsecurity=False)
        async for chunk in self.documents.stream(sha256):
            digest.update(chunk)
        return digest.hexdigest()

    async def _upload(self, flux_id: UUID, attempt: TransmissionAttempted) -> None:
        try:
            await self.channels[attempt.channel].put(
                attempt.remote_name, self._leaving(flux_id, attempt.document.sha256)
            )
        except UploadRefusedError as error:
            logger.warning("gateway.refused", extra={"reason": str(error), "attempt": attempt.attempt})
            self._outcomes[flux_id] = Outcome(attempt, refusal=str(error))
        else:
            self._outcomes[flux_id] = Outcome(attempt)
        await self._conclude(flux_id)

    async def _leaving(self, flux_id: UUID, sha256: str) -> AsyncIterator[bytes]:
        self._not_begun.pop(flux_id, None)
        async for chunk in self.documents.stream(sha256):
            yield chunk
            metrics.TRANSMITTED_BYTES.inc(len(chunk))

    async def _conclude(self, flux_id: UUID) -> None:
        """Record how an upload ended; if that fails, the message comes again and begins here."""
        past = await self.history.load(flux_id)
        facts = decide.conclude(
            [event.data for event in past], self._outcomes[flux_id], now=self.now(), rules=self.rules
        )
        await self._append(_following(past, facts, self.now()), past)
        del self._outcomes[flux_id]

    async def _append(self, events: Sequence[Event], past: Sequence[Event]) -> list[Event]:
        return await self.history.append(events, expected_version=past[-1].version) if events else []

    def _alone(self, flux_id: UUID) -> asyncio.Lock:
        lock = self._locks.get(flux_id)
        if lock is None:
            lock = self._locks[flux_id] = asyncio.Lock()
        return lock


def _fold(past: Sequence[Event]) -> Flux:
    return fold(event.data for event in past)


def _attempted(past: Sequence[Event]) -> Event:
    return next(event for event in reversed(past) if isinstance(event.data, TransmissionAttempted))


def _following(past: Sequence[Event], facts: Sequence[Fact], at: datetime) -> list[Event]:
    return [past[-1].follow(fact, actor=ACTOR, at=at) for fact in facts]

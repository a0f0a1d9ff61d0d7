"""How a service hears of facts: one contract, two buses (`shared.bus.kafka`, `shared.bus.postgres`).

The contract, the same on both and tested once against both:

- every fact of the kinds asked for reaches a handler of the group, at least once, in order for one flux and kind;
- one flux is in the hands of one process of the group at a time (while parties answer: a lost one may overlap);
- a message is settled (and the place in the stream saved) only after the handler has recorded, or after the
  message is safely parked; so after a crash it comes again, and the expected version makes that harmless;
- a message that cannot be read is parked with its error, and the stream goes on;
- one that meets a fact which this version cannot take in (its kind, a value in it or its place is not known), in
  itself or in the stream that its handler loads, is parked with that kind and in this version's dialect: a process of
  another dialect takes it up by itself, once, when it has its part of the work;
- while an outside party does not answer, the message waits and is tried again, without end: no flux is lost
  because a server was away for a week. The service says so in its metrics and in `/readyz`;
- any other error is a bug: it leaves the consumer, the process stops, and nothing is settled.

This module is the only place where an error of `shared.errors` becomes what happens to a message.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Protocol

from shared import metrics, tracing
from shared.asking import Asked, watched
from shared.errors import MalformedMessageError, NewerFactError, UnavailableError
from shared.facts.dialect import own_dialect
from shared.facts.envelope import Event, read_event
from shared.facts.fact import Fact, kind_of
from shared.logs import ids_in, ids_of, naming, seconds
from shared.retrying import PAUSE_SECONDS, TRIES_BEFORE_NEWS, delay_after, for_ever, until_no_conflict

logger = logging.getLogger(__name__)

Handler = Callable[[Event, Any], Awaitable[None]]

SILENT_SECONDS = 2.0  # an answer that takes longer is news, long before its time limit

TO_DO_ABOUT_A_BUG = (
    "Un défaut du programme : le message n’est pas traité, et le service s’arrête, puis le reprend. Gardez ce "
    "journal, signalez-le, ne touchez à rien : le flux attend, il n’est pas perdu. Si l’erreur nomme un document, "
    "restaurez-le depuis une copie."
)


@dataclass(frozen=True)
class Subscription:
    """What one service listens to.

    Attributes:
        group: the service's name; its processes share the work.
        handlers: a coroutine for each class of fact, called with the event and the fact inside it.
    """

    group: str
    handlers: Mapping[type[Fact], Handler]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of facts listened to."""
        return frozenset(kind_of(fact) for fact in self.handlers)


class Bus(Protocol):
    """Delivers facts to a subscription until it is cancelled."""

    async def run(self, subscription: Subscription) -> None:
        """Deliver for ever. Returns only by cancellation, or by the exception of a bug."""

    async def check(self) -> None:
        """Return if the bus answers; raise `UnavailableError` if not."""


@dataclass(frozen=True)
class ParkedMessage:
    """A message that a group could not read.

    Attributes:
        parked_id: names it for `release`.
        body: the message as it came, as text.
        error: why it could not be read.
        parked_at: ISO 8601, UTC.
        awaits: the kind of the fact that its version could not take in; empty when that is not why.
    """

    parked_id: str
    group: str
    kind: str
    body: str
    error: str
    parked_at: str
    awaits: str = ""


class ParkedMessages(Protocol):
    """The parked messages of all groups, for the operator who repairs them."""

    async def all(self) -> list[ParkedMessage]:
        """Return what is parked, oldest first."""

    async def release(self, parked_id: str) -> bool:
        """Have the message delivered again to its group; False when nothing of that id is parked."""


class Outcome(Enum):
    """What became of one attempt at a message."""

    DONE = "done"
    PARK = "park"
    RETRY = "retry"


@dataclass(frozen=True)
class Attempt:
    """The outcome of one attempt; `delay_seconds` is for RETRY, `error` and `awaits` for PARK (`ParkedMessage`)."""

    outcome: Outcome
    delay_seconds: float = 0.0
    error: str = ""
    awaits: str = ""


@dataclass
class Attempts:
    """Handles messages one attempt at a time, and says what to do next. Both buses use it.

    Attributes:
        dialect: what this version reads; what it parks for a newer one is parked in this.
        retrying: for each message being retried (by the key that the bus gives it), how often and who is away.
        under_way: for each message being handled, whom its handler asks.
    """

    subscription: Subscription
    dialect: str = field(default_factory=own_dialect)
    retrying: dict[object, tuple[int, str]] = field(default_factory=dict)
    under_way: dict[object, Asked] = field(default_factory=dict)

    async def attempt(self, key: object, body: bytes | str) -> Attempt:
        """Read a message and hand it to its handler.

        Args:
            key: what tells this message from others in flight (for the back-off).
            body: the canonical JSON of an event; not trusted.

        Returns:
            What the bus should do: settle it, park it then settle it, or deliver it again after a delay.
        """
        try:
            event = read_event(body)
        except MalformedMessageError as error:
            with naming(ids_in(body)):
                return self._park(key, error)
        with naming(ids_of(event)):
            return await self._attempt(key, event)

    def waits_for(self) -> list[str]:
        """Return the outside parties that messages wait for, away or silent, for `/readyz`."""
        away = {party for tries, party in self.retrying.values() if tries >= TRIES_BEFORE_NEWS}
        silent = {asked.party for asked in self.under_way.values() if asked.is_silent(SILENT_SECONDS)}
        return sorted(away | silent)

    async def _attempt(self, key: object, event: Event) -> Attempt:
        began = time.perf_counter()
        try:
            with tracing.handling(event), watched() as asked:
                self.under_way[key] = asked
                await self._handle(event)
        except MalformedMessageError as error:
            return self._park(key, error)
        except UnavailableError as error:
            return self._retry(key, event.kind, error, time.perf_counter() - began)
        except Exception as bug:  # it stops the service, which tells it from end to end but not of what
            fields = {"kind": event.kind, "event_id": str(event.event_id), "error_type": type(bug).__name__}
            logger.critical("message.failed", extra={**fields, "to_do": TO_DO_ABOUT_A_BUG})
            raise
        finally:
            self.under_way.pop(key, None)
        self._forget(key)
        group, took = self.subscription.group, time.perf_counter() - began
        metrics.HANDLING_SECONDS.labels(group, event.kind).observe(took)
        metrics.MESSAGES.labels(group, event.kind, "done").inc()
        logger.info("message.handled", extra={"kind": event.kind, "duration_seconds": seconds(took)})
        return Attempt(Outcome.DONE)

    async def _handle(self, event: Event) -> None:
        handler = self.subscription.handlers.get(type(event.data))
        if handler is None:
            raise MalformedMessageError(f"{self.subscription.group} does not listen to {event.kind}")
        await until_no_conflict(partial(handler, event, event.data))

    def _park(self, key: object, error: MalformedMessageError) -> Attempt:
        self._forget(key)
        awaits = error.kind if isinstance(error, NewerFactError) else ""
        logger.error("message.parked", extra={"reason": str(error), "awaits": awaits})
        metrics.PARKED.labels(self.subscription.group).inc()
        metrics.MESSAGES.labels(self.subscription.group, "", "parked").inc()
        return Attempt(Outcome.PARK, error=str(error), awaits=awaits)

    def _retry(self, key: object, kind: str, error: UnavailableError, took: float) -> Attempt:
        tries = self.retrying.get(key, (0, ""))[0] + 1
        self._forget(key)
        self.retrying[key] = (tries, error.party)
        metrics.RETRYING.labels(self.subscription.group, error.party).inc()
        metrics.MESSAGES.labels(self.subscription.group, kind, "retried").inc()
        delay = delay_after(tries)
        fields = {"kind": kind, "reason": str(error), "tries": tries, "delay_seconds": delay}
        logger.warning("message.retried", extra={**fields, "duration_seconds": seconds(took)})
        return Attempt(Outcome.RETRY, delay_seconds=delay)

    def _forget(self, key: object) -> None:
        known = self.retrying.pop(key, None)
        if known is not None:
            metrics.RETRYING.labels(self.subscription.group, known[1]).dec()


class Terms(ABC):
    """How both buses run: in terms, each of which ends with an outage, and is followed by another."""

    def __init__(self) -> None:
        """Nothing is listened to yet."""
        self._attempts: list[Attempts] = []

    def waits_for(self) -> list[str]:
        """Return the outside parties that messages wait for."""
        return sorted({party for attempts in self._attempts for party in attempts.waits_for()})

    async def run(self, subscription: Subscription) -> None:
        """See `Bus.run`. What was in hand when a term ended is taken again in the next one."""

        async def term() -> None:
            attempts = Attempts(subscription)
            self._attempts = [attempts]
            await self._term(subscription, attempts)

        await for_ever(term, outage="bus.term_ended", every_seconds=PAUSE_SECONDS)

    @abstractmethod
    async def _term(self, subscription: Subscription, attempts: Attempts) -> None:
        """Deliver until a party is away."""

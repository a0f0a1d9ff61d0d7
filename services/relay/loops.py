"""The two loops of `relay`: order what was committed, publish what was ordered. Each goes on after any outage."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NoReturn

from services.relay.ports import Cursor, Order, Publisher
from shared import metrics
from shared.errors import UnavailableError
from shared.journal.order import end_of_order
from shared.journal.postgres import Database, Listener
from shared.retrying import for_ever

logger = logging.getLogger(__name__)

BLOCKED_POLL_SECONDS = 0.005  # most transactions end within that
BLOCKED_SECONDS = 5.0  # a fact that waits longer than this is worth a warning: a transaction was left open


@dataclass
class Ordering:
    """Gives facts their index, at most `limit` at a time, as the only relay to: `sole_order` waits for that."""

    sole_order: Callable[[], AbstractAsyncContextManager[Order]]
    database: Database
    listener: Listener
    limit: int
    poll_seconds: float
    has_grown: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> NoReturn:
        """Order for ever."""
        await for_ever(self._order_on, outage="relay.interrupted")

    async def _order_on(self) -> None:
        """Order for as long as this relay is the only one to."""
        async with self.sole_order() as order:
            logger.info("relay.orders")
            metrics.ORDER_INDEX.set(await end_of_order(self.database))
            while True:
                given = await order.extend(self.limit)
                if given:
                    metrics.ORDER_INDEX.inc(given)
                    self.has_grown.set()
                if given < self.limit:
                    is_blocked = await self._watch(order)
                    await self.listener.wait(BLOCKED_POLL_SECONDS if is_blocked else self.poll_seconds)

    async def _watch(self, order: Order) -> bool:
        """Tell whether an open transaction keeps facts from being ordered; nothing is notified when it ends."""
        waiting = await order.oldest_without_index_seconds()
        metrics.UNORDERED_SECONDS.set(waiting)
        if waiting > BLOCKED_SECONDS:
            logger.warning("relay.blocked", extra={"oldest_fact_seconds": round(waiting, 1)})
        return waiting > 0


@dataclass
class Publishing:
    """Publishes ordered facts to Kafka, from a durable cursor: at least once, in order, whenever `grown` is set."""

    cursor: Cursor
    publisher: Publisher
    grown: asyncio.Event
    limit: int
    poll_seconds: float
    _is_away: bool = field(default=False, init=False)

    def waits_for(self) -> list[str]:
        """Return the outside parties that facts wait for."""
        return ["kafka"] if self._is_away else []

    async def run(self) -> NoReturn:
        """Publish for ever."""
        await for_ever(self._publish, outage="relay.not_published")

    async def _publish(self) -> None:
        """Publish the next facts; when they were the last ones, wait for more."""
        self.grown.clear()
        try:
            facts = await self.cursor.next(self.limit)
            if facts:
                await self.publisher.publish(facts)
                self._is_away = False
                await self.cursor.advance(facts[-1].index)
                metrics.PUBLISHED_INDEX.set(facts[-1].index)
        except UnavailableError as error:
            self._is_away = error.party == "kafka"
            raise
        if len(facts) < self.limit:
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.poll_seconds):
                await self.grown.wait()
        except TimeoutError:
            return

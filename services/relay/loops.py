"""The two loops of `relay`: order what was committed, publish what was ordered. Each goes on after any outage."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
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


class Ordering:
    """Gives facts their index, as the only relay that does."""

    def __init__(
        self,
        sole_order: Callable[[], AbstractAsyncContextManager[Order]],
        database: Database,
        listener: Listener,
        *,
        limit: int,
        poll_seconds: float,
    ) -> None:
        """Order at most `limit` facts at a time; `sole_order` waits until no other relay orders."""
        self._sole_order = sole_order
        self._database = database
        self._listener = listener
        self._limit = limit
        self._poll_seconds = poll_seconds
        self.has_grown = asyncio.Event()

    async def run(self) -> NoReturn:
        """Order for ever."""
        await for_ever(self._order_on, outage="relay.interrupted")

    async def _order_on(self) -> None:
        """Order for as long as this relay is the only one to."""
        async with self._sole_order() as order:
            logger.info("relay.orders")
            metrics.ORDER_INDEX.set(await end_of_order(self._database))
            while True:
                given = await order.extend(self._limit)
                if given:
                    metrics.ORDER_INDEX.inc(given)
                    self.has_grown.set()
                if given < self._limit:
                    is_blocked = await self._watch(order)
                    await self._listener.wait(BLOCKED_POLL_SECONDS if is_blocked else self._poll_seconds)

    async def _watch(self, order: Order) -> bool:
        """Tell whether an open transaction keeps facts from being ordered; nothing is notified when it ends."""
        waiting = await order.oldest_without_index_seconds()
        metrics.UNORDERED_SECONDS.set(waiting)
        if waiting > BLOCKED_SECONDS:
            logger.warning("relay.blocked", extra={"oldest_fact_seconds": round(waiting, 1)})
        return waiting > 0


class Publishing:
    """Publishes ordered facts to Kafka, from a durable cursor: at least once, in order."""

    def __init__(
        self, cursor: Cursor, publisher: Publisher, grown: asyncio.Event, *, limit: int, poll_seconds: float
    ) -> None:
        """Publish at most `limit` facts at a time, whenever `grown` is set."""
        self._cursor = cursor
        self._publisher = publisher
        self._grown = grown
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._is_away = False

    def waits_for(self) -> list[str]:
        """Return the outside parties that facts wait for."""
        return ["kafka"] if self._is_away else []

    async def run(self) -> NoReturn:
        """Publish for ever."""
        await for_ever(self._publish, outage="relay.not_published")

    async def _publish(self) -> None:
        """Publish the next facts; when they were the last ones, wait for more."""
        self._grown.clear()
        try:
            facts = await self._cursor.next(self._limit)
            if facts:
                await self._publisher.publish(facts)
                self._is_away = False
                await self._cursor.advance(facts[-1].index)
                metrics.PUBLISHED_INDEX.set(facts[-1].index)
        except UnavailableError as error:
            self._is_away = error.party == "kafka"
            raise
        if len(facts) < self._limit:
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._grown.wait()
        except TimeoutError:
            return

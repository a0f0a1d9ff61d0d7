"""A bus on which facts happen, and those who listen: what the tests of both buses play on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from aiokafka.partitioner import DefaultPartitioner

from services.relay.adapters.journal import PostgresCursor
from shared.bus.consumer import ParkedMessages, Subscription
from shared.bus.kafka import KafkaBus, KafkaPublisher
from shared.bus.opening import open_bus, open_parked
from shared.bus.postgres import PostgresBus, shard_of
from shared.bus.topics import PARTITIONS
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.flux import FluxImported
from shared.facts.streams import flux_stream
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from tests import examples as an
from tests.ordering import order_all
from tests.recording import begun

PATIENCE_SECONDS = 60  # only a test that fails waits so long
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


@dataclass
class Stage:
    """A bus, and a journal whose facts reach it."""

    kind: str
    database: Database
    dsn: str
    bootstrap: str
    publisher: KafkaPublisher | None
    flux: set[UUID] = field(default_factory=set)

    def bus(self) -> PostgresBus | KafkaBus:
        """Return the bus as one process of a service has it."""
        return open_bus(self.kind, database=self.database, dsn=self.dsn, bootstrap=self.bootstrap)

    def parked(self) -> ParkedMessages:
        """Return the parked messages, as an operator has them."""
        return open_parked(self.kind, database=self.database, bootstrap=self.bootstrap)

    def line_of(self, flux_id: UUID) -> int:
        """Return the number of the line in which a flux stands: those of one line are heard one after the other."""
        if self.publisher is None:
            return shard_of(flux_id)
        partitions = list(range(PARTITIONS))
        return int(DefaultPartitioner()(str(flux_id).encode(), partitions, partitions))

    async def happen(self, *facts: Fact, behind: UUID | None = None) -> UUID:
        """Append facts of a new flux, order them and publish them; in the line of another flux, if one is given."""
        flux_id = new_id()
        while behind is not None and self.line_of(flux_id) != self.line_of(behind):
            flux_id = new_id()
        self.flux.add(flux_id)
        event = begun(facts[0], stream=flux_stream(flux_id))
        events = [event, *(event.follow(fact, actor="x", at=NOW) for fact in facts[1:])]
        await PostgresHistory(self.database).append(events, expected_version=0)
        await self.flow()
        return flux_id

    async def happen_unreadable(self) -> str:
        """Have a message that this version cannot read come by, and return its body.

        It stays in the topic of cancelled flux on a shared broker: only a group that may park can listen there.
        """
        flux_id = new_id()
        self.flux.add(flux_id)
        body = f'{{"data": "{flux_id}"}}'
        await self.database.execute(
            "insert into journal (stream_id, version, event_id, collectivite, kind, body) "
            "values ($1, 1, gen_random_uuid(), '1', 'flux.cancelled.v1', $2)",
            flux_id,
            body,
        )
        await self.flow()
        return body

    async def flow(self) -> None:
        """Do once what `relay` does for ever."""
        await order_all(self.database)
        if self.publisher is not None:
            cursor = PostgresCursor(self.database, "kafka")
            while facts := await cursor.next(100):
                await self.publisher.publish(facts)
                await cursor.advance(facts[-1].index)


@dataclass
class Listener:
    """A handler that keeps what it hears of our own flux; others' may be on a shared broker."""

    stage: Stage
    heard: list[tuple[UUID, str]] = field(default_factory=list)
    fails: Callable[[Event], Exception | None] = lambda _: None

    async def on_fact(self, event: Event, _: Fact) -> None:
        if event.flux_id not in self.stage.flux:
            return
        if error := self.fails(event):
            raise error
        self.heard.append((event.flux_id, event.kind))

    def subscription(self, group: str, *facts: type[Fact]) -> Subscription:
        return Subscription(group, dict.fromkeys(facts or (FluxImported,), self.on_fact))


@asynccontextmanager
async def running(bus: PostgresBus | KafkaBus, subscription: Subscription) -> AsyncIterator[asyncio.Task[None]]:
    """Run one process of a service; leaving is its sudden end."""
    task = asyncio.create_task(bus.run(subscription))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened():
            await asyncio.sleep(0.01)


def document(number: int) -> FluxImported:
    return an.imported.model_copy(update={"document": Document(sha256=f"{number:064x}", size=1)})

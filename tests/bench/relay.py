"""How many facts the relay orders, and publishes to Kafka, in a second, while 16 writers append."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaProducer

from local.postgres.server import LocalPostgres
from services.relay.adapters.journal import PostgresCursor, sole_order
from services.relay.loops import Ordering, Publishing
from shared.bus.kafka import KafkaPublisher, create_topics
from shared.bus.topics import TOPICS, topic_of
from shared.facts.flux import FluxImported
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.order import JOURNAL_CHANNEL, OrderedFact, end_of_order, read_order
from shared.journal.postgres import Database, Listener
from shared.journal.schema import migrate
from tests.bench.figures import Figure
from tests.real.kafka import KafkaCluster
from tests.recording import begun

FACTS = 12_000
WRITERS = 16
GOAL_FACTS_PER_SECOND = 2_000

# The bare reference: the same rows given a dense index by PostgreSQL in one statement, with nothing around it.
_BARE_ORDER = """
insert into bare_order select row_number() over (order by tx, position), position from journal
"""


def measure_relay(folder: Path, kafka: KafkaCluster | None) -> list[Figure]:
    """Order (and publish, where there is a broker) what 16 writers append."""
    with LocalPostgres(folder / "postgres") as postgres:
        return asyncio.run(_measure(postgres.dsn(), kafka.bootstrap if kafka else ""))


async def _measure(dsn: str, bootstrap: str) -> list[Figure]:
    await migrate(dsn)
    async with Database(dsn, connections_max=WRITERS + 4) as database:
        ordering = Ordering(
            partial(sole_order, database), database, Listener(dsn, JOURNAL_CHANNEL), limit=1000, poll_seconds=0.5
        )
        running = asyncio.create_task(ordering.run())
        began = time.perf_counter()
        await _append(database)
        appended = FACTS / (time.perf_counter() - began)
        while await end_of_order(database) < FACTS:
            await asyncio.sleep(0.005)
        ordered = FACTS / (time.perf_counter() - began)
        await _end(running)
        bare = await _bare_order(database)
        figures = [
            _keeping_up(ordered, appended),
            _figure("relay: facts ordered from a backlog", await _order_again(database), bare, "one bare INSERT"),
        ]
        if bootstrap:
            figures.append(await _publish(database, bootstrap))
        return figures


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _figure(name: str, value: float, reference: float, reference_name: str) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit="facts/s",
        goal=f"≥ {GOAL_FACTS_PER_SECOND:,}",
        is_met=value >= GOAL_FACTS_PER_SECOND,
        reference=reference,
        reference_name=reference_name,
    )


def _keeping_up(ordered: float, appended: float) -> Figure:
    """Compare the relay with writers that share the machine with it: it must not fall behind them."""
    return Figure(
        name=f"relay: facts ordered while {WRITERS} writers append",
        value=ordered,
        unit="facts/s",
        goal="≥ 0.95 × the writers",
        is_met=ordered >= 0.95 * appended,
        reference=appended,
        reference_name="facts appended by them",
    )


async def _append(database: Database) -> None:
    history = PostgresHistory(database)

    async def write(number: int) -> None:
        for index in range(FACTS // WRITERS):
            document = Document(sha256=f"{number:032x}{index:032x}", size=1)
            event = begun(
                FluxImported(document=document, filename="flux.xml"),
                collectivite="213499908",
                actor="bench",
                at=datetime.now(UTC),
            )
            await history.append([event], expected_version=0)

    async with asyncio.TaskGroup() as writers:
        for number in range(WRITERS):
            writers.create_task(write(number))


async def _bare_order(database: Database) -> float:
    await database.execute("create table bare_order (index bigint primary key, position bigint not null unique)")
    began = time.perf_counter()
    await database.execute(_BARE_ORDER)
    return FACTS / (time.perf_counter() - began)


async def _order_again(database: Database) -> float:
    """Empty the order, as only the owner of a database being rebuilt may, and have it made again."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("delete from journal_order")
    async with sole_order(database) as order:
        began = time.perf_counter()
        while await order.extend(1000):
            pass
        return FACTS / (time.perf_counter() - began)


async def _publish(database: Database, bootstrap: str) -> Figure:
    await create_topics(bootstrap, TOPICS, replication=1)
    bare = await _bare_publish(database, bootstrap)
    publisher = KafkaPublisher(bootstrap)
    publishing = Publishing(
        PostgresCursor(database, "kafka"), publisher, asyncio.Event(), limit=1000, poll_seconds=0.5
    )
    began = time.perf_counter()
    running = asyncio.create_task(publishing.run())
    while not await database.fetch("select 1 from relay_cursor where bus = 'kafka' and index >= $1", FACTS):
        await asyncio.sleep(0.005)
    published = FACTS / (time.perf_counter() - began)
    await _end(running)
    await publisher.close()
    return _figure("relay: facts published to Kafka", published, bare, "bare producer, same messages")


async def _bare_publish(database: Database, bootstrap: str) -> float:
    facts = await read_order(database, 0, FACTS)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    try:
        await _send(producer, facts[: FACTS // 10])  # warms up: connections, metadata
        began = time.perf_counter()
        await _send(producer, facts)
        return FACTS / (time.perf_counter() - began)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, facts: Sequence[OrderedFact]) -> None:
    sent = [
        await producer.send(topic_of(fact.kind), fact.body.encode(), key=str(fact.stream_id).encode())
        for fact in facts
    ]
    await asyncio.gather(*sent)

"""Publishing: every ordered fact, in order, whatever fails on the way; nothing is lost, some may come twice."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from services.relay.adapters.journal import PostgresCursor
from services.relay.loops import Publishing
from shared.errors import UnavailableError
from shared.facts.envelope import new_id
from shared.journal.order import OrderedFact
from shared.journal.postgres import Database
from tests.ordering import order_all

INSERT = """
insert into journal (stream_id, version, event_id, collectivite, kind, body)
values ($1, 1, gen_random_uuid(), 'x', 'flux.imported.v1', '{}')
"""
FACTS = 25


@dataclass
class Broker:
    """Takes facts; may be away, or lost after it took some of them."""

    is_down: bool = False
    takes_then_is_lost: int = 0
    taken: list[int] = field(default_factory=list)

    async def publish(self, facts: Sequence[OrderedFact]) -> None:
        if self.is_down:
            raise UnavailableError("kafka", "simulated")
        if self.takes_then_is_lost:
            self.taken += [fact.index for fact in facts[: self.takes_then_is_lost]]
            self.takes_then_is_lost = 0
            raise UnavailableError("kafka", "simulated")
        self.taken += [fact.index for fact in facts]


@pytest.fixture
async def ordered(database: Database) -> Database:
    for _ in range(FACTS):
        await database.execute(INSERT, new_id())
    await order_all(database)
    return database


def publishing(database: Database, broker: Broker) -> Publishing:
    return Publishing(PostgresCursor(database, "kafka"), broker, asyncio.Event(), limit=4, poll_seconds=0.01)


async def run_until(loop: Publishing, broker: Broker, last: int) -> None:
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(60):
        while last not in broker.taken or await loop.cursor.next(1):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # nothing more may come
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_every_fact_is_published_in_order(ordered: Database) -> None:
    broker = Broker()
    await run_until(publishing(ordered, broker), broker, FACTS)
    assert broker.taken == list(range(1, FACTS + 1))


async def test_after_a_restart_it_goes_on_where_it_was(ordered: Database) -> None:
    before, after = Broker(), Broker()
    await run_until(publishing(ordered, before), before, FACTS)
    await ordered.execute(INSERT, new_id())
    await order_all(ordered)
    await run_until(publishing(ordered, after), after, FACTS + 1)
    assert after.taken == [FACTS + 1]


async def test_while_the_broker_is_away_facts_wait_and_it_is_told(ordered: Database) -> None:
    broker = Broker(is_down=True)
    loop = publishing(ordered, broker)
    task = asyncio.create_task(run_until(loop, broker, FACTS))
    async with asyncio.timeout(60):
        while loop.waits_for() != ["kafka"]:
            await asyncio.sleep(0.005)
        broker.is_down = False
        await task
    assert broker.taken == list(range(1, FACTS + 1))
    assert loop.waits_for() == []


async def test_a_broker_lost_in_the_middle_gets_the_whole_batch_again(ordered: Database) -> None:
    broker = Broker(takes_then_is_lost=2)
    await run_until(publishing(ordered, broker), broker, FACTS)
    assert broker.taken == [1, 2, *range(1, FACTS + 1)]


async def test_two_relays_that_publish_at_once_lose_nothing(ordered: Database) -> None:
    broker = Broker()
    await asyncio.gather(*(run_until(publishing(ordered, broker), broker, FACTS) for _ in range(2)))
    assert sorted(set(broker.taken)) == list(range(1, FACTS + 1))

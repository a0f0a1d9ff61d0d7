"""The one history under concurrent writers: dense, in order, and no reader ever skips a fact.

Writers commit late, in another order than they began, or not at all, while a reader follows. The last tests take the
guard away and see facts skipped: they prove that the scenario is one in which a simpler order fails.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from services.relay.adapters import journal
from services.relay.adapters.journal import sole_order
from services.relay.loops import Ordering
from shared.facts.envelope import new_id
from shared.facts.flux import FluxImported
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.order import JOURNAL_CHANNEL, OrderedFact, end_of_order, read_order
from shared.journal.postgres import Database, Listener
from tests import examples as an
from tests.conftest import TestDatabase
from tests.recording import begun

WRITERS = 16
FLUX_PER_WRITER = 12
SLOW_SECONDS = 0.03
PAGE = 7
GUARD = "      and tx < pg_snapshot_xmin(pg_current_snapshot())\n"
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
INSERT = """
insert into journal (stream_id, version, event_id, collectivite, kind, body)
values ($1, $2, gen_random_uuid(), 'x', 'flux.imported.v1', '{}')
"""
Fact = tuple[UUID, int]


@dataclass
class Written:
    """What the writers did: facts committed, by flux and version, and facts given up."""

    committed: list[Fact] = field(default_factory=list)
    aborted: list[Fact] = field(default_factory=list)


@dataclass
class Follower:
    """Reads the order all along, a page at a time, and never goes back."""

    database: Database
    facts: list[OrderedFact] = field(default_factory=list)

    async def follow(self) -> None:
        while True:
            last = self.facts[-1].index if self.facts else 0
            found = await read_order(self.database, last, PAGE)
            self.facts += found
            if not found:
                await asyncio.sleep(0.001)


async def write(database: Database, number: int, written: Written) -> None:
    """Append to some flux as services do, and in transactions that are slow or come to nothing."""
    chance = random.Random(number)
    history = PostgresHistory(database)
    for index in range(FLUX_PER_WRITER):
        document = Document(sha256=f"{number:032x}{index:032x}", size=1)
        event = begun(FluxImported(document=document, filename="flux.xml"), collectivite=an.collectivite)
        await history.append([event], expected_version=0)
        written.committed.append((event.stream_id, 1))
        for version in (2, 3):
            await _write_slowly(database, event.stream_id, version, chance, written)


async def _write_slowly(
    database: Database, flux_id: UUID, version: int, chance: random.Random, written: Written
) -> None:
    """Insert in an open transaction, wait, then commit; sometimes after a first try that is rolled back."""
    while True:
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(INSERT, flux_id, version)
            await asyncio.sleep(chance.uniform(0, SLOW_SECONDS))
            if chance.random() < 0.3:
                await transaction.rollback()
                written.aborted.append((flux_id, version))
                continue
            await transaction.commit()
            written.committed.append((flux_id, version))
            return


@asynccontextmanager
async def relay(database: Database, dsn: str) -> AsyncIterator[None]:
    listener = Listener(dsn, JOURNAL_CHANNEL)
    ordering = Ordering(partial(sole_order, database), database, listener, limit=50, poll_seconds=0.02)
    task = asyncio.create_task(ordering.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await listener.close()


async def scenario(test_database: TestDatabase, *, relays: int = 1) -> tuple[Written, list[OrderedFact]]:
    """Have everyone write while relays order and a reader follows; return what was written and what was read."""
    dsn = test_database.dsn()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(dsn, connections_max=WRITERS + 8))
        follower = Follower(database)
        following = asyncio.create_task(follower.follow())
        for _ in range(relays):
            await stack.enter_async_context(relay(database, dsn))
        written = Written()
        await asyncio.gather(*(write(database, number, written) for number in range(WRITERS)))
        await _settle(follower, database, len(written.committed))
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    return written, follower.facts


async def _settle(follower: Follower, database: Database, expected: int) -> None:
    """Wait until everything was read, or until nothing moves any more."""
    quiet = 0
    while len(follower.facts) < expected and quiet < 20:
        before = len(follower.facts)
        await asyncio.sleep(0.05)
        quiet = quiet + 1 if len(follower.facts) == before == await end_of_order(database) else 0


async def versions_of(test_database: TestDatabase) -> dict[tuple[UUID, int], Fact]:
    """Return (flux, version) of each position, told by its index."""
    async with Database(test_database.dsn()) as database:
        rows = await database.fetch(
            "select o.index, j.stream_id, j.version from journal_order o join journal j using (position)"
        )
    return {(row["stream_id"], row["index"]): (row["stream_id"], row["version"]) for row in rows}


@pytest.mark.parametrize("relays", [1, 2], ids=["one relay", "two relays"])
async def test_no_reader_ever_skips_a_fact(test_database: TestDatabase, relays: int) -> None:
    written, read = await scenario(test_database, relays=relays)

    known = await versions_of(test_database)
    seen = [known[fact.stream_id, fact.index] for fact in read]
    assert len(written.aborted) > WRITERS  # the scenario is as rough as it is meant to be
    assert sorted(seen) == sorted(written.committed)
    assert [fact.index for fact in read] == list(range(1, len(written.committed) + 1))
    by_flux = defaultdict(list)
    for flux_id, version in seen:
        by_flux[flux_id].append(version)
    assert all(versions == [1, 2, 3] for versions in by_flux.values())


async def test_without_the_guard_the_same_scenario_skips_facts(
    test_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_EXTEND", without_guard())
    written, read = await scenario(test_database)
    assert len(read) < len(written.committed)


@asynccontextmanager
async def two_transactions(database: Database) -> AsyncIterator[Callable[[], object]]:
    """Begin one transaction, commit another after it; lend what commits the first."""
    async with database.connection() as early:
        transaction = early.transaction()
        await transaction.start()
        await early.execute(INSERT, new_id(), 1)
        await database.execute(INSERT, new_id(), 1)
        yield transaction.commit


async def test_a_fact_waits_for_the_transactions_that_began_before_it(database: Database) -> None:
    async with two_transactions(database) as commit, sole_order(database) as order:
        assert await order.extend(100) == 0
        assert await order.oldest_without_index_seconds() > 0
        await commit()  # type: ignore[misc]
        assert await order.extend(100) == 2
        assert await order.oldest_without_index_seconds() == 0


async def test_transactions_come_in_the_order_in_which_they_began_however_few_are_ordered_at_a_time(
    database: Database,
) -> None:
    async with database.connection() as early:
        async with early.transaction():
            await early.execute("select pg_current_xact_id()")  # it begins first, and inserts second
            await database.execute(INSERT, new_id(), 1)
            await early.execute(INSERT, new_id(), 1)
        async with sole_order(database) as order:
            assert [await order.extend(1) for _ in range(3)] == [1, 1, 0]
    rows = await database.fetch("select index, position from journal_order order by index")
    assert [tuple(row) for row in rows] == [(1, 2), (2, 1)]


async def test_without_the_guard_the_earlier_fact_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_EXTEND", without_guard())
    async with two_transactions(database) as commit, sole_order(database) as order:
        assert await order.extend(100) == 1
        await commit()  # type: ignore[misc]
        assert await order.extend(100) == 0  # committed, and never in the history


async def test_a_second_relay_takes_over_when_the_first_ends(database: Database) -> None:
    await database.execute(INSERT, new_id(), 1)
    waiting = asyncio.Event()

    async def second() -> int:
        waiting.set()
        async with sole_order(database) as order:
            return await order.extend(100)

    async with sole_order(database) as order:
        task = asyncio.create_task(second())
        await waiting.wait()
        await asyncio.sleep(0.05)
        assert not task.done()
        assert await order.extend(100) == 1
    assert await task == 0


async def test_a_place_in_the_order_is_given_once(database: Database) -> None:
    await database.execute(INSERT, new_id(), 1)
    async with sole_order(database) as order:
        await order.extend(100)
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute("insert into journal_order select 2, position from journal")


def without_guard() -> str:
    """Return the ordering statement as one would write it who has not been bitten yet."""
    statement = journal._EXTEND.replace(GUARD, "")
    assert statement != journal._EXTEND
    return statement

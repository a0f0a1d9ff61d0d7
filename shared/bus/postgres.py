"""The embedded bus: consumer groups tail the ordered journal, with durable cursors. No broker to install.

Facts are spread over shards by stream; each shard is handled in order, shards run side by side. Several processes
of one group share the shards: each shard is an advisory lock, held by the process that handles it. A process also
holds a lock that says it is there, shared with the others; from how many there are, each knows its share, takes no
more, and gives up what it has too much of as soon as it is idle.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

import asyncpg

from shared.bus.consumer import Attempt, Attempts, Outcome, ParkedMessage, Subscription, Terms
from shared.errors import UnavailableError
from shared.facts.envelope import format_time, new_id
from shared.facts.streams import BY_KIND
from shared.journal.order import ORDER_CHANNEL, OrderedFact, read_order
from shared.journal.postgres import Database, Listener, in_our_words

SHARDS = 8
MEMBERS = SHARDS  # the key of the lock that says that a process is there; shards are 0 to SHARDS - 1
BATCH = 500
POLL_SECONDS = 1.0  # the safety net when a notification is lost
RELEASED_CHANNEL = ORDER_CHANNEL  # a release wakes the groups as a new fact does

_LOCK_SHARD = "select pg_try_advisory_lock(hashtext($1), $2) as mine"

_UNLOCK_SHARD = "select pg_advisory_unlock(hashtext($1), $2)"

_BE_THERE = "select pg_advisory_lock_shared(hashtext($1), $2)"

# How many processes of the group are there.
_MEMBERS = """
select count(distinct pid) from pg_locks
where locktype = 'advisory' and objsubid = 2 and granted and mode = 'ShareLock'
  and database = (select oid from pg_database where datname = current_database())
  and classid::bigint = hashtext($1)::bigint & 4294967295 and objid::bigint = $2
"""

_CURSORS = "select shard, index from consumer_cursor where consumer_group = $1"

_SAVE = """
insert into consumer_cursor (consumer_group, shard, index)
select $1, shard, index from unnest($2::int[], $3::bigint[]) as saved (shard, index)
on conflict (consumer_group, shard) do update set index = greatest(consumer_cursor.index, excluded.index)
"""

_PARK = """
insert into parked (parked_id, consumer_group, index, kind, stream_id, body, error, awaits, dialect)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (consumer_group, index) do update
    set error = excluded.error, awaits = excluded.awaits, dialect = excluded.dialect, released_at = null,
        parked_at = clock_timestamp()
"""

# What a version of another dialect parked in these shards (`shard_of`), because it could not take it in: it is
# delivered again; unless it was parked for a kind that was not known, and the group turns out not to listen to it.
_TAKE_UP = """
with taken as (
    select parked_id, kind = awaits and kind = any($5) as is_unheard from parked
    where consumer_group = $1 and released_at is null and awaits <> '' and dialect <> $2
      and get_byte(uuid_send(stream_id), 15) % $3 = any($4)
), dropped as (
    delete from parked using taken where parked.parked_id = taken.parked_id and is_unheard
)
update parked set released_at = clock_timestamp()
from taken where parked.parked_id = taken.parked_id and not is_unheard
"""

_RELEASED = """
select index, kind, stream_id, body from parked
where consumer_group = $1 and released_at is not null order by index limit $2
"""

_SETTLE_RELEASED = "delete from parked where consumer_group = $1 and index = $2 and released_at is not null"

_ALL_PARKED = """
select parked_id, consumer_group, kind, body, error, parked_at, awaits from parked
where released_at is null order by parked_at
"""

_RELEASE = """
update parked set released_at = clock_timestamp()
where parked_id::text = $1 and released_at is null returning pg_notify($2, '')
"""


def shard_of(stream_id: UUID) -> int:
    """Return the shard of a stream: the same for ever, spread evenly (a uuid7 ends in random bits)."""
    return stream_id.int % SHARDS


@dataclass
class _Shard:
    """One shard in this process: where it is, and the facts it still has to handle."""

    number: int
    cursor: int = 0
    facts: asyncio.Queue[OrderedFact] = field(default_factory=asyncio.Queue)
    is_idle: bool = True
    task: "asyncio.Task[None] | None" = None


_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class PostgresBus(Terms):
    """See the module; implements `shared.bus.consumer.Bus`."""

    def __init__(self, database: Database, dsn: str) -> None:
        """Use this database for the facts, and connections of its own for locks and notifications."""
        super().__init__()
        self._database = database
        self._dsn = dsn

    async def check(self) -> None:
        """See `Bus.check`."""
        await self._database.check()

    async def _term(self, subscription: Subscription, attempts: Attempts) -> None:
        await _Term(self._database, self._dsn, subscription, attempts).run()


class _Term:
    """The time during which one process holds some shards of a group, on one connection."""

    def __init__(self, database: Database, dsn: str, subscription: Subscription, attempts: Attempts) -> None:
        self._database = database
        self._dsn = dsn
        self._subscription = subscription
        self._attempts = attempts
        self._group = subscription.group
        self._lock = f"consumer {subscription.group}"
        self._shards: dict[int, _Shard] = {}
        self._read = 0  # index of the last fact read from the order
        self._room = asyncio.Event()

    async def run(self) -> None:
        listener = Listener(self._dsn, ORDER_CHANNEL)
        try:
            async with self._database.connection() as connection, asyncio.TaskGroup() as tasks:
                await self._be_there(connection)
                while _is_open(connection):  # the locks live as long as this connection
                    share = await self._share(connection)
                    await self._take_shards(connection, tasks, share)
                    await self._give_up_shards(connection, share)
                    has_more = await self._read_on()
                    await self._deliver_released()
                    await self._save_idle()
                    if has_more:
                        await self._wait_for_room()
                    else:
                        await listener.wait(POLL_SECONDS)
                raise UnavailableError("postgresql", "the connection that holds the shards was closed")
        finally:
            await listener.close()

    async def _be_there(self, connection: _Connection) -> None:
        with in_our_words():
            await connection.execute(_BE_THERE, self._lock, MEMBERS)

    async def _share(self, connection: _Connection) -> int:
        """Return how many shards this process may hold, given how many processes there are."""
        with in_our_words():
            members = int(await connection.fetchval(_MEMBERS, self._lock, MEMBERS))
        return -(-SHARDS // max(members, 1))

    async def _take_shards(self, connection: _Connection, tasks: asyncio.TaskGroup, share: int) -> None:
        """Lock shards that nobody handles, up to our share; start each where its cursor says."""
        taken: list[int] = []
        for number in range(SHARDS):
            if len(self._shards) + len(taken) >= share:
                break
            if number in self._shards:
                continue
            with in_our_words():
                if await connection.fetchval(_LOCK_SHARD, self._lock, number):
                    taken.append(number)
        if not taken:
            return
        cursors = {row["shard"]: row["index"] for row in await self._database.fetch(_CURSORS, self._group)}
        starts = {number: cursors.get(number, 0) for number in taken}
        self._read = min(starts.values()) if not self._shards else min(self._read, *starts.values())
        for number, cursor in starts.items():
            shard = self._shards[number] = _Shard(number, cursor)
            shard.task = tasks.create_task(self._work(shard))
        unheard = list(BY_KIND.keys() - self._subscription.kinds)
        await self._database.execute(_TAKE_UP, self._group, self._attempts.dialect, SHARDS, taken, unheard)

    async def _give_up_shards(self, connection: _Connection, share: int) -> None:
        """Let other processes have what is over our share, as far as it is idle; the rest has its turn later."""
        idle = [shard for shard in self._shards.values() if shard.is_idle]
        for shard in idle[: max(len(self._shards) - share, 0)]:
            if shard.task is not None:
                shard.task.cancel()
            del self._shards[shard.number]
            await self._save({shard.number: max(shard.cursor, self._read)})
            with in_our_words():
                await connection.fetchval(_UNLOCK_SHARD, self._lock, shard.number)

    async def _read_on(self) -> bool:
        """Read the next facts, if there is room, and hand them to their shards; say whether there may be more."""
        if not self._has_room:
            return True
        facts = await read_order(self._database, self._read, BATCH)
        for fact in facts:
            if fact.kind in BY_KIND and fact.kind not in self._subscription.kinds:
                continue  # a kind that is not known may be listened to by a newer version: it is parked for it
            shard = self._shards.get(shard_of(fact.stream_id))
            if shard is not None and fact.index > shard.cursor:
                shard.is_idle = False
                shard.facts.put_nowait(fact)
        if facts:
            self._read = facts[-1].index
        return len(facts) == BATCH

    @property
    def _has_room(self) -> bool:
        return sum(shard.facts.qsize() for shard in self._shards.values()) <= BATCH

    async def _wait_for_room(self) -> None:
        """Return as soon as there is room, or to look after the locks: a handler may take long."""
        if self._has_room:
            return
        self._room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._room.wait()

    async def _work(self, shard: _Shard) -> None:
        """Handle the facts of one shard, one after the other."""
        while True:
            fact = await shard.facts.get()
            if fact.index > shard.cursor:  # it is read twice when shards are taken at different times
                await self._settle(fact)
                shard.cursor = fact.index
                await self._save({shard.number: fact.index})
            shard.is_idle = shard.facts.empty()
            if self._has_room:
                self._room.set()

    async def _settle(self, fact: OrderedFact) -> None:
        """Handle one fact until it is done or parked."""
        while True:
            attempt = await self._attempts.attempt(fact.index, fact.body)
            if attempt.outcome is Outcome.DONE:
                return
            if attempt.outcome is Outcome.PARK:
                await self._park(fact, attempt)
                return
            await asyncio.sleep(attempt.delay_seconds)

    async def _park(self, fact: OrderedFact, attempt: Attempt) -> None:
        await self._database.execute(
            _PARK,
            new_id(),
            self._group,
            fact.index,
            fact.kind,
            fact.stream_id,
            fact.body,
            attempt.error,
            attempt.awaits,
            self._attempts.dialect,
        )

    async def _deliver_released(self) -> None:
        """Handle once more what was released or taken up; what still cannot be read is parked again."""
        for row in await self._database.fetch(_RELEASED, self._group, BATCH):
            fact = OrderedFact(**row)
            if shard_of(fact.stream_id) not in self._shards:
                continue
            attempt = await self._attempts.attempt(("released", fact.index), fact.body)
            if attempt.outcome is Outcome.DONE:
                await self._database.execute(_SETTLE_RELEASED, self._group, fact.index)
            elif attempt.outcome is Outcome.PARK:
                await self._park(fact, attempt)

    async def _save_idle(self) -> None:
        """Move idle shards up to where we have read, so that a restart does not read it all again."""
        idle = [shard for shard in self._shards.values() if shard.is_idle and shard.cursor < self._read]
        for shard in idle:
            shard.cursor = self._read
        if idle:
            await self._save({shard.number: shard.cursor for shard in idle})

    async def _save(self, cursors: dict[int, int]) -> None:
        await self._database.execute(_SAVE, self._group, list(cursors), list(cursors.values()))


def _is_open(connection: _Connection) -> bool:
    """Say whether a connection still stands; the pool raises `UnavailableError` once it has taken a dead one back."""
    with in_our_words():
        return not connection.is_closed()


class PostgresParkedMessages:
    """Parked messages of the embedded bus; implements `shared.bus.consumer.ParkedMessages`."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def all(self) -> list[ParkedMessage]:
        """See `ParkedMessages.all`."""
        return [
            ParkedMessage(
                parked_id=str(row["parked_id"]),
                group=row["consumer_group"],
                kind=row["kind"],
                body=row["body"],
                error=row["error"],
                parked_at=format_time(row["parked_at"]),
                awaits=row["awaits"],
            )
            for row in await self._database.fetch(_ALL_PARKED)
        ]

    async def release(self, parked_id: str) -> bool:
        """See `ParkedMessages.release`."""
        return bool(await self._database.fetch(_RELEASE, parked_id, RELEASED_CHANNEL))

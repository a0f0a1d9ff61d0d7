"""The one way to PostgreSQL: a pool, its errors in our words, and a listener for its notifications."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Self

import asyncpg

from shared import tracing
from shared.errors import UnavailableError

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, "cannot connect now"
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.ReadOnlySQLTransactionError,  # a failover in progress
    asyncpg.IdleInTransactionSessionTimeoutError,
    TimeoutError,
    OSError,
)
_SYSTEM = {"db.system.name": "postgresql"}
_IN_BRACKETS = re.compile(r"\([^()]*\)")
_DOES = re.compile(r"\b(select|insert into|update|delete from)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|into|update)\s+(\w+)", re.IGNORECASE)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn "PostgreSQL does not answer", however it shows, into `UnavailableError`."""
    try:
        yield
    except _AWAY as error:
        raise UnavailableError("postgresql", str(error) or type(error).__name__) from error


@lru_cache(maxsize=256)
def name_of(query: str) -> str:
    """Return what a statement does and to which table, for traces: `insert into journal`."""
    bare, found = query, 1
    while found:
        bare, found = _IN_BRACKETS.subn("", bare)
    does = _DOES.search(bare)
    if does is None:
        return "statement"
    table = _TABLE.search(bare, does.start())
    return f"{does[1].lower()} {table[1]}" if table else does[1].lower()


class Database:
    """A pool of connections that are opened when they are needed.

    It can be made while PostgreSQL is away: each use then raises `UnavailableError`, until it is back.
    """

    def __init__(self, dsn: str, *, connections_max: int = 8, timeout_seconds: float = 10.0) -> None:
        """Prepare the pool; nothing is opened before `open`."""
        self._pool = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=connections_max,
            command_timeout=timeout_seconds,
            timeout=timeout_seconds,
        )
        self._dsn = dsn
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        """Open the pool, without any connection yet."""
        with in_our_words():
            await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection, cutting those that do not answer."""
        try:
            async with asyncio.timeout(2):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"]:
        """Lend a connection.

        Raises:
            UnavailableError: PostgreSQL does not answer, at the start or in the middle.
        """
        with in_our_words():
            async with self._pool.acquire(timeout=self._timeout_seconds) as connection:
                yield connection

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Run one query and return its rows."""
        with tracing.step(name_of(query), _SYSTEM):
            async with self.connection() as connection:
                return await connection.fetch(query, *values)

    async def execute(self, query: str, *values: object) -> None:
        """Run one statement, in a transaction of its own."""
        with tracing.step(name_of(query), _SYSTEM):
            async with self.connection() as connection:
                await connection.execute(query, *values)

    async def check(self) -> None:
        """Return if PostgreSQL answers; raise `UnavailableError` if not."""
        await self.fetch("select 1")


class Listener:
    """Waits for a NOTIFY on one channel; a slow poll is the safety net, so a lost one only costs time."""

    def __init__(self, dsn: str, channel: str) -> None:
        """Prepare to listen; the connection is opened by the first `wait`, and again whenever it is lost."""
        self._dsn = dsn
        self._channel = channel
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._heard = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return at the next notification (or one since the last call), or after `seconds`."""
        await self._connect_if_needed()
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            pass
        self._heard.clear()

    async def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connect_if_needed(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            return
        try:
            with in_our_words():
                self._connection = await asyncpg.connect(self._dsn, timeout=5)
                await self._connection.add_listener(self._channel, self._on_notification)
        except UnavailableError:
            self._connection = None  # the caller's own query will say so; until then, the slow poll
        else:
            self._heard.set()  # something may have been said while nobody listened

    def _on_notification(self, *_: object) -> None:
        self._heard.set()


def affected(status: str) -> int:
    """Return the number of rows in a command's status: `INSERT 0 3` is 3."""
    return int(status.rsplit(" ", 1)[-1])

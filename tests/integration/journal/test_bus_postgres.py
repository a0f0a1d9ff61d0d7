"""The embedded bus when the connection that holds its locks is lost: what it was doing is no longer its own."""

import asyncio

import pytest

from shared.bus.consumer import Subscription
from shared.bus.postgres import BATCH
from shared.facts.envelope import Event
from shared.facts.flux import TransmissionAttempted
from shared.journal.postgres import Database
from tests import examples as an
from tests.conftest import TestDatabase
from tests.stage import Stage, running, until

_CUT_THOSE_WHO_HOLD_SHARDS = """
select pg_terminate_backend(pid) from pg_locks
where locktype = 'advisory' and mode = 'ShareLock' and granted
  and database = (select oid from pg_database where datname = current_database())
"""


@pytest.mark.parametrize("waiting", [1, 3 * BATCH], ids=["nothing waits", "more waits than is read at a time"])
async def test_who_has_lost_its_locks_ends_what_it_was_doing(test_database: TestDatabase, waiting: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def on_attempted(_: Event, attempted: TransmissionAttempted) -> None:
        begun.append(attempted.attempt)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(attempted.attempt)

    async with Database(test_database.dsn(), connections_max=20) as database:
        stage = Stage("postgres", database, test_database.dsn(), "", None)
        attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, waiting + 1)]
        await stage.happen(an.imported, *attempts)
        async with running(stage.bus(), Subscription("group", {TransmissionAttempted: on_attempted})):
            await until(lambda: begun == [1])
            await asyncio.sleep(0.5)  # so that it has read all that it has room for
            await database.fetch(_CUT_THOSE_WHO_HOLD_SHARDS)
            await until(lambda: begun == [1, 1])
            assert ended == [1]  # before it was begun anew

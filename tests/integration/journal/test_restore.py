"""A journal restored from a dump, on another server, with the commands of the manual, goes on from where it was."""

from pathlib import Path
from uuid import UUID

import pytest

from local.postgres.server import LocalPostgres
from shared.facts.envelope import Event
from shared.journal.history import PostgresHistory
from shared.journal.order import OrderedFact, read_order
from shared.journal.postgres import Database
from shared.journal.schema import REBASED, migrate
from tests import examples as an
from tests.conftest import TestDatabase
from tests.ordering import order_all
from tests.recording import begun
from tests.restoring import empty_database, restore, save

FLUX = 5


async def append(database: Database, number: int) -> UUID:
    document = an.imported.document.model_copy(update={"sha256": f"{number:064x}"})
    first = begun(an.imported.model_copy(update={"document": document}), collectivite=an.collectivite)
    await PostgresHistory(database).append([first], expected_version=0)
    return first.stream_id


async def ordered(database: Database) -> list[OrderedFact]:
    await order_all(database)
    return await read_order(database, 0, 1000)


async def count_transactions_up_to(database: Database, other: Database) -> None:
    """Have a server count transactions until it is far beyond another one."""
    now = "select pg_current_xact_id()::text::bigint as id"
    ahead = (await other.fetch(now))[0]["id"] + 200
    while (await database.fetch(now))[0]["id"] < ahead:
        pass


@pytest.fixture
def elsewhere(tmp_path: Path) -> LocalPostgres:
    """Return a server made anew, which counts transactions from the start."""
    return LocalPostgres(tmp_path / "elsewhere")


async def test_a_restored_journal_is_whole_and_goes_on(
    test_database: TestDatabase, elsewhere: LocalPostgres, tmp_path: Path
) -> None:
    with elsewhere:
        target = empty_database(elsewhere)
        async with Database(test_database.dsn()) as source, Database(target) as restored:
            await count_transactions_up_to(source, restored)
            past = [await append(source, number) for number in range(FLUX)]
            before = await ordered(source)
            late = await append(source, FLUX)  # recorded, and not ordered when the dump is made
            save(test_database.dsn(), tmp_path)
            restore(target, tmp_path)

            assert await migrate(target) == [REBASED]

            following = await append(restored, FLUX + 1)
            after = await ordered(restored)
            assert after[:FLUX] == before
            assert [one.stream_id for one in after] == [*past, late, following]
            assert [one.index for one in after] == list(range(1, FLUX + 3))
            assert await migrate(target) == []
            assert await bodies(restored, late) == await bodies(source, late)


async def test_migrating_changes_nothing_in_a_journal_that_was_not_restored(test_database: TestDatabase) -> None:
    async with Database(test_database.dsn()) as database:
        await append(database, 1)
        rows = await database.fetch("select position, tx::text from journal")
        assert await migrate(test_database.dsn()) == []
        assert await database.fetch("select position, tx::text from journal") == rows


async def bodies(database: Database, stream_id: UUID) -> list[Event]:
    return await PostgresHistory(database).load(stream_id)

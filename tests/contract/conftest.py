"""Lends each bus to the tests of their one contract."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from shared.bus.kafka import KafkaPublisher
from shared.facts.envelope import new_id
from shared.journal.postgres import Database
from tests.conftest import TestDatabase
from tests.stage import Stage


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
async def stage(request: pytest.FixtureRequest, test_database: TestDatabase) -> AsyncIterator[Stage]:
    bootstrap = request.getfixturevalue("kafka").bootstrap if request.param == "kafka" else ""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(test_database.dsn(), connections_max=20))
        publisher = KafkaPublisher(bootstrap) if bootstrap else None
        if publisher is not None:
            stack.push_async_callback(publisher.close)
        yield Stage(request.param, database, test_database.dsn(), bootstrap, publisher)


@pytest.fixture
def group() -> str:
    return f"group-{new_id()}"

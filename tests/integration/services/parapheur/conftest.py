"""Lends the parapheur for real: PostgreSQL and a document store below, tokens above, keys on the other side."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.journal.postgres import Database
from tests.conftest import TestDatabase
from tests.integration.services.parapheur.bench import Bench, opened
from tests.parapheur import DEPUTY, MAYOR


@pytest.fixture
async def bench(test_database: TestDatabase, database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    """The mayor and the deputy have a mandate; nobody set a circuit."""
    async with (
        Database(test_database.dsn("heliotrope_signature"), timeout_seconds=5) as own,
        opened(own, database, tmp_path) as made,
    ):
        await made.mandate(MAYOR)
        await made.mandate(DEPUTY)
        yield made

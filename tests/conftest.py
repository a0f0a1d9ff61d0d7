"""Real parts for the tests that need them: PostgreSQL, a database of one's own, Kafka. Each starts when asked for.

Where Java or Maven is missing, tests that need Kafka are skipped; where `CI` is `true`, they fail instead.
"""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from local.postgres.database import dsn_of
from local.postgres.server import LocalPostgres
from shared.bus.kafka import create_topics
from shared.bus.topics import TOPICS
from shared.journal.postgres import Database
from shared.journal.schema import migrate
from tests.finishing import finish
from tests.real.folders import lasting_folder
from tests.real.kafka import KafkaCluster, require_kafka
from tests.sharing import Sharing

PROJECT = Path(__file__).parents[1]
TEMPLATE = "template_heliotrope"
# Waits until the tests have ended, in whatever way, then stops the server if they did not.
_STOP_AFTER_US = """
import sys
import tempfile
from pathlib import Path
from local.postgres.server import LocalPostgres
sys.stdin.read()
LocalPostgres(Path(sys.argv[1])).stop()
"""
_NUMBERS = count(1)


@dataclass(frozen=True)
class TestDatabase:
    """A migrated, empty database of one test."""

    __test__ = False

    server: LocalPostgres
    name: str

    def dsn(self, role: str = "postgres") -> str:
        """Say how to connect as a role; the owner unless told otherwise."""
        return self.server.dsn(self.name, role)

    def dsn_of(self, service: str) -> str:
        """Say how to connect as a service does."""
        return dsn_of(service, self.server, self.name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    """Say which tests go together where several processes share them."""
    return Sharing(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    """Lend a PostgreSQL server whose template database is migrated."""
    with ExitStack() as stack:
        server = LocalPostgres(stack.enter_context(lasting_folder()) / "postgres")
        stack.enter_context(_never_left_behind(server))
        stack.enter_context(server)
        _create(server, TEMPLATE)
        finish(migrate(server.dsn(TEMPLATE)))
        yield server
    if not server.sockets.is_relative_to(server.folder):
        shutil.rmtree(server.sockets, ignore_errors=True)


@pytest.fixture
def test_database(postgres: LocalPostgres) -> Iterator[TestDatabase]:
    """Lend a fresh database."""
    name = f"test_{next(_NUMBERS)}"
    _create(postgres, name, template=TEMPLATE)
    yield TestDatabase(postgres, name)
    finish(_execute(postgres, f'drop database "{name}" with (force)'))


@pytest.fixture
async def database(test_database: TestDatabase) -> AsyncIterator[Database]:
    """Lend a fresh database, open, as its owner."""
    async with Database(test_database.dsn(), connections_max=30) as opened:
        yield opened


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Lend a broker of one node that has our topics. Tests share it: each uses flux and groups of its own."""
    require_kafka()
    with KafkaCluster(tmp_path_factory.mktemp("kafka")) as broker:
        finish(create_topics(broker.bootstrap, TOPICS, replication=1))
        yield broker
        broker.kill()  # nobody needs its data any more, and a clean stop takes seconds


@contextmanager
def _never_left_behind(server: LocalPostgres) -> Iterator[None]:
    """Have the server stopped even if the tests are killed: it outlives who starts it. (A broker does not.)"""
    argv = [sys.executable, "-c", _STOP_AFTER_US, str(server.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=PROJECT, start_new_session=True):
        yield


def _create(server: LocalPostgres, name: str, *, template: str = "template0") -> None:
    finish(_execute(server, f'create database "{name}" template "{template}"'))


async def _execute(server: LocalPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

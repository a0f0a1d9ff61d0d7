"""What only an operator reaches: the database and the broker behind the services, here or as the environment says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandRefusedError, UnreachableError
from local.folder import choose_folder
from local.ports import KAFKA
from local.postgres.database import DATABASE
from local.postgres.server import LocalPostgres
from local.running import find_running
from shared.bus.consumer import ParkedMessages
from shared.bus.opening import open_parked
from shared.errors import PesError
from shared.journal.history import History, PostgresHistory
from shared.journal.postgres import Database

DATABASE_VARIABLE, BUS_VARIABLE, KAFKA_VARIABLE = "DATABASE_URL", "BUS", "KAFKA_BOOTSTRAP"
CONNECTIONS_MAX = 2
ANSWER_SECONDS_MAX = 15.0


@dataclass(frozen=True)
class Infrastructure:
    """How to reach them; `kafka_bootstrap` is empty where there is no broker."""

    database_url: str
    bus: str
    kafka_bootstrap: str


def find_infrastructure(environ: Mapping[str, str], asked: Path | None = None) -> Infrastructure:
    """Return what the environment says (the variables of the services), else the local platform.

    Raises:
        UnreachableError: there is neither.
    """
    bootstrap = environ.get(KAFKA_VARIABLE, "")
    if url := environ.get(DATABASE_VARIABLE, ""):
        return Infrastructure(url, environ.get(BUS_VARIABLE, "") or "postgres", bootstrap)
    folder = choose_folder(asked, environ)
    running = find_running(folder)
    if running is None:
        raise UnreachableError(
            "Aucune plateforme lancée",
            f"Rien ne tourne pour {folder.root} : `make up`, ou donnez {DATABASE_VARIABLE}, {BUS_VARIABLE} et "
            f"{KAFKA_VARIABLE} d’une plateforme distante.",
        )
    local = f"127.0.0.1:{running.ports.of(KAFKA)}" if running.bus == "kafka" else ""
    return Infrastructure(LocalPostgres(folder.postgres).dsn(DATABASE), running.bus, local)


@asynccontextmanager
async def parked_messages(infrastructure: Infrastructure) -> AsyncIterator[tuple[ParkedMessages, History]]:
    """Lend the parked messages of a platform, and the journal that says who released them.

    Raises:
        UnreachableError: the database or the broker does not answer.
    """
    try:
        async with Database(
            infrastructure.database_url, connections_max=CONNECTIONS_MAX, timeout_seconds=ANSWER_SECONDS_MAX
        ) as database:
            parked = open_parked(infrastructure.bus, database=database, bootstrap=infrastructure.kafka_bootstrap)
            yield parked, PostgresHistory(database)
    except PesError as error:
        raise no_answer(error) from error


def no_answer(error: Exception) -> UnreachableError:
    """Say in French that the database or the broker does not answer."""
    return UnreachableError("La base de données ou le bus ne répond pas", str(error) or type(error).__name__)


def require_broker(infrastructure: Infrastructure) -> str:
    """Return the address of the broker.

    Raises:
        CommandRefusedError: this platform has none.
    """
    if not infrastructure.kafka_bootstrap:
        raise CommandRefusedError(
            "Aucun broker Kafka", f"Cette plateforme tourne sur le bus intégré ; donnez {KAFKA_VARIABLE} sinon."
        )
    return infrastructure.kafka_bootstrap

"""The whole platform on one machine, started and stopped in order.

Order: PostgreSQL (and Kafka) and the local Hélios, then the schema and the topics, then the services, all at once.
The opposite to stop. Everything is a child of one supervisord (`local.supervision`).
"""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx

from local import readiness
from local.client_file import write_client_config
from local.errors import PlatformError
from local.first_start import DEFAULT_COLLECTIVITE, record_first_decisions
from local.folder import DataFolder
from local.kafka.answering import is_up
from local.kafka.jars import ensure_jars
from local.kafka.node import Node
from local.kafka.node import Ports as KafkaPorts
from local.kafka.storage import prepare
from local.keys.passwords import ensure_simulator_credentials
from local.keys.pki import DemoPki, ensure_demo_pki
from local.keys.tokens import ensure_keys
from local.orphans import stop_everything
from local.ports import KAFKA, KAFKA_CONTROLLER, SERVICES, SFTP, Ports, taken
from local.postgres.database import prepare_database
from local.postgres.server import LocalPostgres
from local.programs import (
    SERVICES_GROUP,
    BusKind,
    Setting,
    inherited,
    kafka_program,
    postgres_program,
    service_programs,
)
from local.progress import Say
from local.running import Running, forget_running, record_running
from local.supervision.supervisor import Supervisor
from shared.bus.kafka import create_topics
from shared.bus.topics import TOPICS
from shared.errors import PesError

READY_SECONDS_MAX = 90.0
KAFKA_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 3000


class Platform:
    """One platform, to start and to stop. The caller holds the folder's lock (`local.lock`)."""

    def __init__(self, folder: DataFolder, ports: Ports, bus: BusKind, say: Say) -> None:
        """Start nothing yet; `say` is told what goes on."""
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self._ports = ports
        self._bus = bus
        self._postgres = LocalPostgres(folder.postgres, say=say)
        self._say = say

    def start(self, environ: Mapping[str, str], *, is_detached: bool) -> Running:
        """Start everything, and return once every service is ready.

        Raises:
            PlatformError: a port is taken, or something does not start; nothing is left running.
        """
        forget_running(self.folder)
        if stop_everything(self.folder, self.supervisor):
            self._say("Une plateforme précédente s’était mal arrêtée : ce qui en restait a été arrêté.")
        self._check_ports()
        kind = "Kafka" if self._bus == "kafka" else "bus intégré"
        self._say(f"Démarrage de la plateforme ({kind}), données dans {self.folder.root}")
        try:
            with _in_french():
                self._start(environ)
        except BaseException:
            stop_everything(self.folder, self.supervisor)
            raise
        write_client_config(self.folder, self._ports, collectivite=DEFAULT_COLLECTIVITE)
        return record_running(self.folder, self._bus, self._ports, is_detached=is_detached)

    def stop(self) -> None:
        """Stop everything, in order."""
        forget_running(self.folder)
        stop_everything(self.folder, self.supervisor)

    def _check_ports(self) -> None:
        names = [*SERVICES, SFTP]
        if self._bus == "kafka":
            names += [KAFKA, KAFKA_CONTROLLER]
        if found := taken(self._ports, names):
            listed = ", ".join(f"{port} ({name})" for name, port in found)
            title, place = ("Ports occupés", "les ports") if len(found) > 1 else ("Port occupé", "le port")
            raise PlatformError(
                title,
                f"Un autre programme écoute déjà sur {place} {listed} : arrêtez-le, ou choisissez d’autres ports, "
                f"par exemple HELIOTROPE_PORT_BASE={self._ports.base + 200}.",
            )

    def _start(self, environ: Mapping[str, str]) -> None:
        setting, broker = self._prepare()
        programs = [postgres_program(self._postgres), *service_programs(setting)]
        if broker is not None:
            programs.append(kafka_program(broker))
        self.supervisor.launch(programs, inherited(environ, self.folder))
        self._postgres.wait_until_ready()
        asyncio.run(prepare_database(self._postgres))
        if broker is not None:
            asyncio.run(_prepare_broker(broker))
        self._wait_until_ready(["simulator"])  # it writes the host key that the others pin
        self.supervisor.start(SERVICES_GROUP)
        self._wait_until_ready(SERVICES)
        record_first_decisions(self.folder, self._ports, self._say)

    def _prepare(self) -> tuple[Setting, Node | None]:
        """Make what is missing on disk: keys, certificates, the database cluster, the broker."""
        now = datetime.now(UTC)
        with ThreadPoolExecutor(3) as pool:
            pki = pool.submit(ensure_demo_pki, self.folder.pki, now)
            database = pool.submit(self._postgres.prepare)
            broker = pool.submit(self._prepare_kafka) if self._bus == "kafka" else None
            ensure_keys(self.folder, now)
            database.result()
            return self._setting(pki.result()), broker.result() if broker else None

    def _setting(self, pki: DemoPki) -> Setting:
        return Setting(
            folder=self.folder,
            ports=self._ports,
            bus=self._bus,
            postgres=self._postgres,
            pki=pki,
            simulator=ensure_simulator_credentials(self.folder),
        )

    def _prepare_kafka(self) -> Node:
        ports = KafkaPorts(client=self._ports.of(KAFKA), controller=self._ports.of(KAFKA_CONTROLLER))
        return prepare(self.folder.kafka, ports, lib=ensure_jars(say=self._say))

    def _wait_until_ready(self, services: Collection[str]) -> None:
        waiting = list(services)
        deadline = time.monotonic() + READY_SECONDS_MAX
        with httpx.Client(trust_env=False) as client:
            while True:
                answers = [readiness.ask(client, service, self._ports) for service in waiting]
                waiting = [answer.service for answer in answers if not answer.is_ready]
                if not waiting:
                    return
                if time.monotonic() > deadline or not self.supervisor.is_alive():
                    raise self._not_ready(next(answer for answer in answers if not answer.is_ready))
                time.sleep(POLL_SECONDS)

    def _not_ready(self, answer: readiness.Readiness) -> PlatformError:
        log = self.folder.logs / f"{answer.service}.log"
        why = f"il ne joint pas {', '.join(answer.away)}" if answer.away else "il ne répond pas"
        return PlatformError(
            "La plateforme n’a pas démarré",
            f"Le service {answer.service} n’est pas prêt : {why}. Fin de son journal ({log}) :\n{_tail(log)}",
        )


@contextmanager
def _in_french() -> Iterator[None]:
    """Introduce what PostgreSQL, Kafka or supervisord say when they cannot start."""
    try:
        yield
    except (PesError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise PlatformError("La plateforme n’a pas démarré", str(error) or type(error).__name__) from error


async def _prepare_broker(node: Node) -> None:
    """Wait for the broker, and create the topics that it lacks."""
    port = node.ports.client
    deadline = time.monotonic() + KAFKA_SECONDS_MAX
    while not await is_up(node):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Kafka ne répond pas sur le port {port}.")
        await asyncio.sleep(POLL_SECONDS)
    await create_topics(f"127.0.0.1:{port}", TOPICS, replication=1)


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return "(vide)"

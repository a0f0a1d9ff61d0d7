"""Runs a service: its HTTP server and its background tasks together, until SIGTERM or SIGINT.

When a background task ends by a bug, the process ends too, with status 1: whatever supervises it starts it again,
and nothing was settled meanwhile.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError

from shared import tracing
from shared.bus.kafka import KafkaBus
from shared.bus.opening import open_bus
from shared.bus.postgres import PostgresBus
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.logs import set_up_logs
from shared.runtime.documents import DocumentStore, open_store
from shared.runtime.settings import HttpSettings, ServiceSettings
from shared.web.app import Check
from shared.web.auth import TokenChecker
from shared.web.keys import token_checker

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5
EXIT_BAD_SETTINGS = 2
SettingsT = TypeVar("SettingsT", bound=HttpSettings)


def utc_now() -> datetime:
    """Return the time, UTC. Passed to handlers as `now`, so that they never read the clock themselves."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Parts:
    """What every service is wired from."""

    database: Database
    history: PostgresHistory
    documents: DocumentStore
    bus: PostgresBus | KafkaBus
    tokens: TokenChecker

    @property
    def checks(self) -> dict[str, Check]:
        """What tells whether each of them answers, for `/readyz`."""
        return {"postgresql": self.database.check, "bus": self.bus.check, "documents": self.documents.check}


@asynccontextmanager
async def open_parts(settings: ServiceSettings) -> AsyncIterator[Parts]:
    """Open what every service needs; nothing has to answer yet."""
    dsn = settings.database_url.get_secret_value()
    store = open_store(
        settings.documents_url,
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
    )
    async with Database(
        dsn, connections_max=settings.database_connections_max, timeout_seconds=settings.request_seconds_max
    ) as database:
        yield Parts(
            database=database,
            history=PostgresHistory(database),
            documents=DocumentStore(store),
            bus=open_bus(settings.bus, database=database, dsn=dsn, bootstrap=settings.kafka_bootstrap),
            tokens=token_checker(settings.jwks_file, settings.token_issuer, time.monotonic),
        )


def read_settings(settings: type[SettingsT], service: str) -> SettingsT:
    """Read a service's settings, set up its logs and traces; end the process naming what is missing or wrong."""
    try:
        values = settings()
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            name = str(one["loc"][0]).upper() if one["loc"] else "?"
            sys.stderr.write(f"{service}: setting {name}: {one['msg']}\n")
        raise SystemExit(EXIT_BAD_SETTINGS) from error
    set_up_logs(service, values.log_level)
    if values.otlp_endpoint:
        from shared.runtime.exporting import start_traces  # noqa: PLC0415  # who does not trace does not load it

        start_traces(service, values.otlp_endpoint)
    return values


class _Server(uvicorn.Server):
    """Leaves signals to `run_service`, which stops the tasks too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_service(app: FastAPI, settings: HttpSettings, tasks: Sequence[Coroutine[None, None, None]]) -> None:
    """Serve HTTP and run the tasks until a signal asks to stop; a task that fails ends the service."""
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)

    async with asyncio.TaskGroup() as group:
        background = [group.create_task(task) for task in tasks]
        serving = group.create_task(_serve(server, stopping))
        logger.info("service.started", extra={"port": settings.http_port})
        await stopping.wait()
        server.should_exit = True
        for task in background:
            task.cancel()
        await serving
    logger.info("service.stopped")


async def _serve(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # the port is taken: uvicorn has logged it
        raise RuntimeError("the HTTP server could not start") from error
    if not stopping.is_set():
        raise RuntimeError("the HTTP server stopped by itself")


def run(main: Coroutine[None, None, None]) -> None:
    """Run a service to its end; a bug is logged, and the process ends with status 1."""
    try:
        uvloop.run(main)
    except Exception as bug:
        logger.critical("service.failed", exc_info=bug)
        raise SystemExit(1) from bug
    finally:
        tracing.stop()

"""Lends what judges flux for real: PostgreSQL, a document store, worker processes; and the API on top."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from services.validation.adapters.collectivites import PostgresCollectivites
from services.validation.adapters.packs import PostgresPacks
from services.validation.adapters.policies import PostgresPolicies
from services.validation.adapters.scratch import ScratchFolder
from services.validation.administration import Administration
from services.validation.api import administration_routes, check_routes, collectivite_routes, flux_routes
from services.validation.collectivites import Identities
from services.validation.handler import Judges
from services.validation.preflight import Checks
from services.validation.reports import Reports
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.runtime.workers import Pool
from shared.web.app import caller_dependency, service_app
from shared.web.uploads import Bounds
from tests.callers import bearer, checker
from tests.conftest import TestDatabase
from tests.identities import open_collectivite
from tests.integration.services.validation.bench import MEBIBYTE, Bench


@pytest.fixture(scope="package")
def pool() -> Iterator[Pool]:
    """Worker processes, shared by the tests: each costs a second to start."""
    made = Pool(2, seconds_max=60, memory_bytes_max=2048 * MEBIBYTE)
    yield made
    asyncio.run(made.aclose())


@pytest.fixture
async def bench(test_database: TestDatabase, database: Database, tmp_path: Path, pool: Pool) -> AsyncIterator[Bench]:
    async with Database(test_database.dsn("heliotrope_validation"), timeout_seconds=5) as own:
        history = PostgresHistory(own)
        documents = DocumentStore(open_store(f"file://{tmp_path / 'documents'}"))
        scratch = ScratchFolder(tmp_path)
        packs, policies, collectivites = PostgresPacks(own), PostgresPolicies(own), PostgresCollectivites(own)
        now = lambda: datetime.now(UTC)  # noqa: E731
        judges = Judges(history, packs, policies, collectivites, pool, scratch, None, now, 64 * MEBIBYTE)
        await open_collectivite(history)
        reports = Reports(history, documents, scratch, pool, lambda: datetime.now(UTC), MEBIBYTE)
        app = service_app("validation", "", checks={})
        caller = caller_dependency(checker())
        app.include_router(check_routes(Checks(judges, scratch), caller=caller, bounds=Bounds(MEBIBYTE, 3)))
        app.include_router(flux_routes(reports, caller=caller))
        administration = Administration(history, packs, policies, pool, lambda: datetime.now(UTC))
        app.include_router(administration_routes(administration, caller=caller))
        app.include_router(collectivite_routes(Identities(history, collectivites, now), caller=caller))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://validation", headers=bearer()) as http:
            yield Bench(http, PostgresHistory(database), documents, judges, scratch, tmp_path)
        await scratch.aclose()

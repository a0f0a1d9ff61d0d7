"""Lends the registries for real: PostgreSQL below, tokens above."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.signature.adapters.registries import PostgresRegistries
from services.signature.administration import Administration
from services.signature.api import administration_routes
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.web.app import caller_dependency, service_app
from tests import examples as an
from tests.callers import OTHER_COMMUNE, checker
from tests.conftest import TestDatabase
from tests.granting import say
from tests.integration.services.registries.bench import ADMINISTRATOR, NOW, Bench


@pytest.fixture
async def bench(test_database: TestDatabase) -> AsyncIterator[Bench]:
    """The caller administers the commune, unless a request says otherwise; the other commune chose the seal."""
    async with Database(test_database.dsn_of("signature"), timeout_seconds=5) as database:
        history, registries = PostgresHistory(database), PostgresRegistries(database)
        await say(history, an.seal_chosen, collectivite=OTHER_COMMUNE)
        app = service_app("signature", "", checks={})
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://signature", headers=ADMINISTRATOR) as http:
            made = Bench(http, history, registries, NOW)
            administration = Administration(history, registries, lambda: made.at, has_key=True)
            app.include_router(administration_routes(administration, caller=caller_dependency(checker())))
            yield made

"""Wires `history` and runs it."""

from services.history.adapters.rows import PostgresRows
from services.history.api import routes, stream_routes
from services.history.lookups import Lookups
from services.history.projection import Projection
from services.history.settings import Settings
from shared.journal.order import ORDER_CHANNEL
from shared.journal.postgres import Listener
from shared.runtime.service import open_parts, read_settings, run, run_service
from shared.web.app import caller_dependency, service_app


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    async with open_parts(settings) as parts:
        rows = PostgresRows(parts.database)
        listener = Listener(settings.database_url.get_secret_value(), ORDER_CHANNEL)
        projection = Projection(rows, parts.history, listener, limit=settings.batch_facts_max)
        app = service_app(
            "history", "Montre ce qui est arrivé à chaque flux.", checks={"postgresql": parts.database.check}
        )
        caller = caller_dependency(parts.tokens)
        lookups = Lookups(parts.history, rows, parts.documents)
        app.include_router(routes(lookups, caller=caller))
        app.include_router(stream_routes(lookups, caller=caller))
        await run_service(app, settings, [projection.run(), projection.retry()])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "history")))

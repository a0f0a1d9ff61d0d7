"""Wires `ingest` and runs it."""

from services.ingest.api import routes
from services.ingest.importer import Importer
from services.ingest.settings import Settings
from shared.runtime.service import open_parts, read_settings, run, run_service, utc_now
from shared.web.app import caller_dependency, service_app
from shared.web.uploads import Bounds


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    async with open_parts(settings) as parts:
        app = service_app(
            "ingest",
            "Importe les flux des collectivités.",
            checks={"postgresql": parts.database.check, "documents": parts.documents.check},
        )
        importer = Importer(
            history=parts.history, documents=parts.documents, now=utc_now, bytes_max=settings.file_bytes_max
        )
        app.include_router(
            routes(
                importer,
                caller=caller_dependency(parts.tokens),
                bounds=Bounds(settings.file_bytes_max, settings.files_max),
                history_url=settings.history_url,
            )
        )
        await run_service(app, settings, [])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "ingest")))

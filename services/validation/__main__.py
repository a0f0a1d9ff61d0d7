"""Wires `validation` and runs it."""

from functools import partial

from services.validation.handler import on_imported
from services.validation.settings import Settings
from shared.consumer import Subscription
from shared.events import FluxImported
from shared.service import open_parts, read_settings, run, run_service, utc_now
from shared.web import service_app


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    async with open_parts(settings) as parts:
        handler = partial(on_imported, history=parts.history, documents=parts.documents, now=utc_now)
        app = service_app(
            "validation",
            "Juge les flux importés.",
            checks={"postgresql": parts.database.check, "bus": parts.bus.check, "documents": parts.documents.check},
            waits_for=parts.bus.waits_for,
        )
        await run_service(app, settings, [parts.bus.run(Subscription("validation", {FluxImported: handler}))])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "validation")))

"""Wires `ack` and runs it."""

from contextlib import aclosing

from services.ack.adapters.sftp import SftpReplies
from services.ack.collector import Collector
from services.ack.settings import LEAVE_IN_PLACE, Settings
from shared.runtime.service import open_parts, read_settings, run, run_service, utc_now
from shared.runtime.sftp import SftpServer
from shared.web.app import service_app


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    server = SftpReplies(SftpServer.of(settings))
    async with open_parts(settings) as parts, aclosing(server):
        collector = Collector(
            server,
            parts.documents,
            parts.history,
            now=utc_now,
            done_directory="" if settings.done_directory == LEAVE_IN_PLACE else settings.done_directory,
            poll_seconds=settings.poll_seconds,
            settle_seconds=settings.settle_seconds,
            bytes_max=settings.reply_bytes_max,
        )
        app = service_app(
            "ack",
            "Collecte les réponses de la DGFiP.",
            checks={"postgresql": parts.database.check, "documents": parts.documents.check},
            waits_for=collector.waits_for,
        )
        await run_service(app, settings, [collector.run()])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "ack")))

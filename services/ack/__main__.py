"""Wires `ack` and runs it."""

from contextlib import aclosing
from functools import partial

from services.ack.adapters.rows import PostgresReplyRows
from services.ack.adapters.sftp import SftpReplies
from services.ack.api import routes
from services.ack.collector import Collector
from services.ack.handler import on_linked
from services.ack.replies import Replies
from services.ack.settings import DECIDING, LEAVE_IN_PLACE, Settings
from shared.bus.consumer import Subscription
from shared.facts.reply import ReplyLinked
from shared.runtime.applied import record_settings, told
from shared.runtime.service import open_parts, read_settings, run, run_service, utc_now
from shared.runtime.sftp import SftpServer
from shared.web.app import caller_dependency, service_app


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
            checks=parts.checks,
            waits_for=lambda: [*collector.waits_for(), *parts.bus.waits_for()],
        )
        replies = Replies(parts.history, parts.documents, PostgresReplyRows(parts.database), utc_now)
        app.include_router(routes(replies, caller=caller_dependency(parts.tokens)))
        act = partial(on_linked, history=parts.history, documents=parts.documents, now=utc_now)
        subscription = Subscription("ack", {ReplyLinked: act})

        async def collect() -> None:
            await record_settings("ack", told(settings, DECIDING), history=parts.history, now=utc_now)
            await collector.run()

        await run_service(app, settings, [collect(), parts.bus.run(subscription)])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "ack")))

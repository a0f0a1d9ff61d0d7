"""Wires `gateway` and runs it."""

from contextlib import aclosing

from services.gateway.adapters.choices import PostgresChoices
from services.gateway.adapters.markers import StoredMarkers
from services.gateway.adapters.sftp import SftpChannel
from services.gateway.api import routes
from services.gateway.decide import Rules
from services.gateway.handler import Sender
from services.gateway.send_requests import SendRequests
from services.gateway.settings import DECIDING, Settings
from shared.bus.consumer import Subscription
from shared.facts.flux import FluxSigned, FluxValidated, TransmissionReleased, TransmissionRequested
from shared.runtime.applied import record_settings, told
from shared.runtime.service import open_parts, read_settings, run, run_service, utc_now
from shared.runtime.sftp import SftpServer
from shared.web.app import caller_dependency, service_app

LISTENS_TO = (FluxValidated, FluxSigned, TransmissionRequested, TransmissionReleased)


def rules_of(settings: Settings) -> Rules:
    """Return the bounds that the settings give."""
    return Rules(
        in_doubt_seconds=settings.in_doubt_seconds,
        in_doubt_policy=settings.in_doubt_policy,
        refusals_max=settings.refusals_max,
        refused_retry_seconds=settings.refused_retry_seconds,
    )


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    sftp = SftpChannel(SftpServer.of(settings))
    async with open_parts(settings) as parts, aclosing(sftp):
        sender = Sender(
            history=parts.history,
            documents=parts.documents,
            markers=StoredMarkers(parts.documents),
            channels={channel.name: channel for channel in (sftp,)},
            usual=sftp.name,
            choices=PostgresChoices(parts.database),
            now=utc_now,
            rules=rules_of(settings),
            p_dest=settings.p_dest,
            p_appli=settings.p_appli,
            growth_seconds_max=settings.operation_seconds_max,
        )
        app = service_app(
            "gateway",
            "Transmet les flux à la DGFiP.",
            checks=parts.checks,
            waits_for=parts.bus.waits_for,
        )
        requests = SendRequests(history=parts.history, now=utc_now)
        app.include_router(routes(requests, caller=caller_dependency(parts.tokens)))
        subscription = Subscription("gateway", dict.fromkeys(LISTENS_TO, sender.on_ready))

        async def send() -> None:
            await record_settings("gateway", told(settings, DECIDING), history=parts.history, now=utc_now)
            await parts.bus.run(subscription)

        await run_service(app, settings, [send(), sender.review_holds(settings.holds_review_seconds)])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "gateway")))

"""Wires `signature` and runs it."""

from functools import partial

from services.signature.adapters.seal import PemSeal
from services.signature.handler import on_validated
from services.signature.settings import Settings
from services.signature.xades import Claims
from shared.consumer import Subscription
from shared.events import FluxValidated
from shared.service import open_parts, read_settings, run, run_service, utc_now
from shared.web import service_app


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    seal = _seal(settings)
    async with open_parts(settings) as parts:
        handler = partial(on_validated, history=parts.history, documents=parts.documents, seal=seal, now=utc_now)
        app = service_app(
            "signature",
            "Fait signer les flux et vérifie leurs signatures.",
            checks={"postgresql": parts.database.check, "bus": parts.bus.check, "documents": parts.documents.check},
            waits_for=parts.bus.waits_for,
        )
        await run_service(app, settings, [parts.bus.run(Subscription("signature", {FluxValidated: handler}))])


def _seal(settings: Settings) -> PemSeal | None:
    if settings.seal_key_file is None or settings.seal_certificate_file is None:
        return None
    claims = Claims(settings.seal_role, settings.seal_city, settings.seal_postal_code)
    return PemSeal.from_files(settings.seal_key_file, settings.seal_certificate_file, claims)


if __name__ == "__main__":
    run(serve(read_settings(Settings, "signature")))

"""Wires `validation` and runs it."""

from contextlib import aclosing
from functools import partial

from services.validation.adapters.clamd import Clamd
from services.validation.adapters.collectivites import PostgresCollectivites
from services.validation.adapters.packs import PostgresPacks
from services.validation.adapters.policies import PostgresPolicies
from services.validation.adapters.scratch import ScratchFolder
from services.validation.administration import Administration
from services.validation.api import administration_routes, check_routes, collectivite_routes, flux_routes
from services.validation.collectivites import Identities
from services.validation.handler import Judges, on_imported, on_registered
from services.validation.preflight import Checks
from services.validation.reports import Reports
from services.validation.settings import DECIDING, Settings
from shared.bus.consumer import Handler, Subscription
from shared.facts.collectivite import IdentifierRegistered
from shared.facts.fact import Fact
from shared.facts.flux import DuplicateAccepted, FluxImported, IdentifiersCompleted
from shared.runtime.applied import record_settings, told
from shared.runtime.service import open_parts, read_settings, run, run_service, utc_now
from shared.runtime.workers import Pool
from shared.web.app import caller_dependency, service_app
from shared.web.uploads import Bounds

JUDGES_AT = (FluxImported, DuplicateAccepted, IdentifiersCompleted)


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    antivirus = Clamd(settings.clamd, seconds_max=settings.clamd_seconds_max) if settings.clamd else None
    seconds, memory = settings.worker_seconds_max, settings.worker_memory_bytes_max
    pool = Pool(settings.workers_wanted, seconds_max=seconds, memory_bytes_max=memory)
    scratch = ScratchFolder(settings.scratch_folder)
    async with aclosing(pool), aclosing(scratch), open_parts(settings) as parts:
        judges = Judges(
            history=parts.history,
            packs=PostgresPacks(parts.database),
            policies=PostgresPolicies(parts.database),
            collectivites=PostgresCollectivites(parts.database),
            workers=pool,
            scratch=scratch,
            antivirus=antivirus,
            now=utc_now,
            attachment_bytes_max=settings.attachment_bytes_max,
        )
        bytes_max = settings.attachment_bytes_max
        reports = Reports(parts.history, parts.documents, scratch, pool, utc_now, bytes_max)
        checks = parts.checks | ({"clamd": antivirus.check} if antivirus else {})
        app = service_app("validation", "Contrôle les flux.", checks=checks, waits_for=parts.bus.waits_for)
        caller = caller_dependency(parts.tokens)
        bounds = Bounds(settings.file_bytes_max, settings.files_max)
        app.include_router(check_routes(Checks(judges, scratch), caller=caller, bounds=bounds))
        app.include_router(flux_routes(reports, caller=caller))
        administration = Administration(parts.history, judges.packs, judges.policies, pool, utc_now)
        app.include_router(administration_routes(administration, caller=caller))
        identities = Identities(parts.history, judges.collectivites, utc_now)
        app.include_router(collectivite_routes(identities, caller=caller))
        handler = partial(
            on_imported, judges=judges, documents=parts.documents, scratch=scratch, history=parts.history
        )
        registered = partial(on_registered, collectivites=judges.collectivites, history=parts.history, now=utc_now)
        handlers: dict[type[Fact], Handler] = {**dict.fromkeys(JUDGES_AT, handler), IdentifierRegistered: registered}

        async def hear() -> None:
            await record_settings("validation", told(settings, DECIDING), history=parts.history, now=utc_now)
            await parts.bus.run(Subscription("validation", handlers))

        await run_service(app, settings, [hear()])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "validation")))

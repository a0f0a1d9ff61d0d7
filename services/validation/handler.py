"""What `validation` does when it hears of a fact."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from services.validation.decide import decide
from services.validation.ports import Documents
from services.validation.rules import read_flux
from shared.envelope import Event
from shared.events import FluxImported
from shared.history import History
from shared.lifecycle import fold

ACTOR = "validation"


async def on_imported(
    event: Event, imported: FluxImported, *, history: History, documents: Documents, now: Callable[[], datetime]
) -> None:
    """Judge an imported file."""
    flux = fold(past.data for past in await history.load(event.flux_id))
    document = await documents.read(imported.document.sha256)
    # lxml lets other tasks run while it parses; the thread keeps the event loop free.
    reading = await asyncio.to_thread(read_flux, document, event.collectivite)
    facts = [event.follow(fact, actor=ACTOR, at=now()) for fact in decide(flux, reading)]
    if facts:
        await history.append(facts, expected_version=flux.version)

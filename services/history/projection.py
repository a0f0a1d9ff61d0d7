"""Keeps the list of flux up to date, following the one history in order."""

import asyncio
import logging
from uuid import UUID

from services.history.ports import Rows
from services.history.views import Row, row_of
from shared import metrics
from shared.errors import MalformedMessageError, UnavailableError, UnexpectedFactError
from shared.history import History
from shared.postgres import Listener

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.5


class Projection:
    """Follows the history and saves what it shows."""

    def __init__(self, rows: Rows, history: History, listener: Listener, *, limit: int) -> None:
        """Take at most `limit` facts at a time, whenever `listener` hears of some."""
        self._rows = rows
        self._history = history
        self._listener = listener
        self._limit = limit

    async def run(self) -> None:
        """Follow for ever; an outage only delays."""
        while True:
            try:
                await self._follow()
            except UnavailableError as error:
                logger.warning("projection.interrupted", extra={"reason": str(error)})
                await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self) -> None:
        while True:
            if await self.catch_up() < self._limit:
                await self._listener.wait(POLL_SECONDS)

    async def catch_up(self) -> int:
        """Show the next facts; return how many there were."""
        facts = await self._rows.next(await self._rows.cursor(), self._limit)
        if not facts:
            return 0
        shown = [await self._row(flux_id) for flux_id in {fact.flux_id for fact in facts}]
        await self._rows.save([row for row in shown if row is not None], facts[-1].index)
        metrics.VIEW_INDEX.set(facts[-1].index)
        return len(facts)

    async def _row(self, flux_id: UUID) -> Row | None:
        try:
            return row_of(await self._history.load(flux_id))
        except (MalformedMessageError, UnexpectedFactError) as error:
            # Written by a newer version than this one: the list shows it when this service is updated.
            logger.warning("projection.skipped", extra={"skipped_flux_id": str(flux_id), "reason": str(error)})
            return None

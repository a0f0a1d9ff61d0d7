"""Keeps the list of flux up to date, following the one history in order.

A flux with facts that this version cannot read is shown as far as it can, as set aside, and the list goes on. It is
remembered as skipped: a version that can read it must show it whole, even if no further fact comes. So skipped flux
are tried again, by every process, when it starts and from time to time (an older version may still run beside a newer
one, and skip).
"""

import logging
from collections.abc import Iterable
from typing import NoReturn

from services.history.ports import Rows, Seen
from services.history.views import Row, row_of
from shared import metrics
from shared.journal.history import History
from shared.journal.postgres import Listener
from shared.journal.reading import read_flux
from shared.retrying import for_ever

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0


class Projection:
    """Follows the history and saves what it shows."""

    def __init__(self, rows: Rows, history: History, listener: Listener, *, limit: int) -> None:
        """Take at most `limit` facts at a time, whenever `listener` hears of some."""
        self._rows = rows
        self._history = history
        self._listener = listener
        self._limit = limit

    async def run(self) -> NoReturn:
        """Follow for ever; an outage only delays."""
        await for_ever(self._follow, outage="projection.interrupted")

    async def retry(self) -> NoReturn:
        """Try the skipped flux again for ever, now and every `RETRY_SECONDS`."""
        await for_ever(
            self.retry_skipped,
            outage="projection.retry_interrupted",
            every_seconds=RETRY_SECONDS,
            pause=RETRY_SECONDS,
        )

    async def _follow(self) -> None:
        if await self.catch_up() < self._limit:
            await self._listener.wait(POLL_SECONDS)

    async def catch_up(self) -> int:
        """Show the next facts; return how many there were."""
        facts = await self._rows.next(await self._rows.cursor(), self._limit)
        if not facts:
            return 0
        last = {fact.stream_id: fact.index for fact in facts}
        rows, read, skipped = await self._look_at(Seen(*item) for item in last.items())
        for seen, reason in skipped.items():
            logger.warning("projection.skipped", extra={"skipped_flux_id": str(seen.flux_id), "reason": reason})
        await self._rows.save(rows, read=read, skipped=list(skipped), index=facts[-1].index)
        metrics.VIEW_INDEX.set(facts[-1].index)
        return len(facts)

    async def retry_skipped(self) -> int:
        """Show the flux that were skipped and can be read by now; return how many."""
        shown, after = 0, None
        while page := await self._rows.skipped(after, self._limit):
            after = page[-1].flux_id
            rows, read, _ = await self._look_at(page)
            await self._rows.save(rows, read=read, skipped=())
            shown += len(read)
        if shown:
            logger.info("projection.no_longer_skipped", extra={"flux": shown})
        return shown

    async def _look_at(self, flux: Iterable[Seen]) -> tuple[list[Row], list[Seen], dict[Seen, str]]:
        """Return the rows of some flux, which of them could be read whole, and why the others could not."""
        rows: list[Row] = []
        read: list[Seen] = []
        skipped: dict[Seen, str] = {}
        for seen in flux:
            found = read_flux(await self._history.recorded(seen.flux_id))
            if found.set_aside is None:
                read.append(seen)
            else:
                skipped[seen] = f"{found.set_aside.kind} at version {found.set_aside.version}"
            if row := row_of(found):
                rows.append(row)
        return rows, read, skipped

"""Pages of the list of flux, as it is and as it was."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.history.ports import Rows, Wanted
from services.history.views import Row, row_of, until
from shared.journal.history import History
from shared.journal.reading import read_flux

LOOKED_AT_MAX = 1_000  # flux whose facts are read for one page of the past


@dataclass(frozen=True)
class Page:
    """Rows, and the flux after which the next page begins; None when there is none."""

    rows: list[Row]
    next: UUID | None


async def flux_page(wanted: Wanted, rows: Rows, history: History, *, before: UUID | None, limit: int) -> Page:
    """Return a page of the list: as it is, or as it was at `wanted.imported_until`."""
    if wanted.imported_until is not None:
        return await _past(wanted, wanted.imported_until, rows, history, before=before, limit=limit)
    found = await rows.page(wanted, before=before, limit=limit)
    return Page(found, found[-1].flux_id if len(found) == limit else None)


async def _past(
    wanted: Wanted, at: datetime, rows: Rows, history: History, *, before: UUID | None, limit: int
) -> Page:
    """Play the facts of the flux that were there again; a page may hold fewer rows than its limit, and say `next`.

    NomFic is known once a flux has been looked into, and for ever: that of now finds what it was not known of then.
    """
    then = Wanted(wanted.perimeter, (), wanted.nomfic, wanted.sha256, at)
    shown: list[Row] = []
    candidates = await rows.page(then, before=before, limit=LOOKED_AT_MAX)
    for row in candidates:
        past = row_of(until(read_flux(await history.recorded(row.flux_id)), at))
        if past is not None and (not wanted.states or past.state in wanted.states):
            shown.append(past)
        if len(shown) == limit:
            return Page(shown, row.flux_id)
    return Page(shown, candidates[-1].flux_id if len(candidates) == LOOKED_AT_MAX else None)

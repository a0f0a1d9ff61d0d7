"""The HTTP API of `history`: what happened to every flux, now and at any past moment."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from services.history.ports import Rows
from services.history.views import event_shown, flux_shown, until
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import Event
from shared.facts.lifecycle import State
from shared.journal.history import History
from shared.web.auth import MAY_READ, Caller
from shared.web.problems import flux_not_found

PAGE_ROWS_MAX = 500


def routes(*, caller: Callable[..., Awaitable[Caller]], history: History, rows: Rows) -> APIRouter:
    """Return the routes of `history`."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"])

    @router.get("", summary="Lister les flux, du plus récent au plus ancien")
    async def list_flux(
        who: Annotated[Caller, Depends(caller)],
        state: Annotated[list[State] | None, Query()] = None,
        collectivite: str = "",
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = 100,
    ) -> dict[str, object]:
        who.require(MAY_READ, "consulter les flux")
        perimeter = who.perimeter
        if collectivite:
            perimeter = frozenset({who.choose(collectivite)})
        found = await rows.page(perimeter=perimeter, states=state or (), before=before, limit=limit)
        following = str(found[-1].flux_id) if len(found) == limit else None
        return {"flux": [row.shown() for row in found], "next": following}

    @router.get("/{flux_id}", summary="Consulter un flux, maintenant ou à un instant passé")
    async def show_flux(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], at: AwareDatetime | None = None
    ) -> dict[str, object]:
        past = await _visible(history, flux_id, who)
        if at is not None:
            past = until(past, at)
        if not past:
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "flux-not-yet",
                "Flux inexistant à cet instant",
                f"Le flux {flux_id} n'existait pas encore à cet instant. Choisissez-en un postérieur à son import.",
            )
        return flux_shown(past)

    @router.get("/{flux_id}/events", summary="Lire tous les faits d'un flux, dans l'ordre")
    async def flux_events(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        past = await _visible(history, flux_id, who)
        return {"flux_id": str(flux_id), "events": [event_shown(event) for event in past]}

    return router


async def _visible(history: History, flux_id: UUID, who: Caller) -> list[Event]:
    who.require(MAY_READ, "consulter les flux")
    past = await history.load(flux_id)
    if not past or not who.may_see(past[0].collectivite):
        raise flux_not_found(flux_id)
    return past

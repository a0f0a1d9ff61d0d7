"""The HTTP API of `history`: what happened to every flux, now and at any past moment."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import AwareDatetime

from services.history.ports import Rows
from services.history.views import flux_shown, until
from shared.errors import RequestRefusedError, Why
from shared.facts.lifecycles.flux import State
from shared.facts.streams import stream_id_of
from shared.journal.history import History, Recorded
from shared.journal.reading import FluxRead, read_flux
from shared.web.auth import Caller, Right
from shared.web.problems import NO_STORE, flux_not_found

PAGE_ROWS_MAX = 500


def routes(*, caller: Callable[..., Awaitable[Caller]], history: History, rows: Rows) -> APIRouter:
    """Return the routes of `history` about flux."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"])

    @router.get("", summary="Lister les flux, du plus récent au plus ancien")
    async def list_flux(
        who: Annotated[Caller, Depends(caller)],
        state: Annotated[list[State] | None, Query()] = None,
        collectivite: str = "",
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = 100,
    ) -> dict[str, object]:
        perimeter = _perimeter(who, collectivite)
        found = await rows.page(perimeter=perimeter, states=state or (), before=before, limit=limit)
        following = str(found[-1].flux_id) if len(found) == limit else None
        return {"flux": [row.shown() for row in found], "next": following}

    @router.get("/{flux_id}", summary="Consulter un flux, maintenant ou à un instant passé")
    async def show_flux(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], at: AwareDatetime | None = None
    ) -> dict[str, object]:
        recorded = await _visible(flux_id, who, history, flux_not_found(flux_id))
        return _shown(flux_id, recorded[0].collectivite, read_flux(recorded), at)

    @router.get("/{flux_id}/events", summary="Lire tous les faits d’un flux, dans l’ordre")
    async def flux_events(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
        recorded = await _visible(flux_id, who, history, flux_not_found(flux_id))
        return _as_recorded({"flux_id": str(flux_id)}, "events", recorded)

    return router


def _perimeter(who: Caller, collectivite: str) -> frozenset[str] | None:
    """Return the collectivités whose flux to list: the one asked for, or all those that the caller sees."""
    action = "consulter les flux"
    who.require_somewhere(Right.READ, action)
    if collectivite:
        return frozenset({who.choose(collectivite, Right.READ, action)})
    return who.perimeter(Right.READ)


def _shown(flux_id: UUID, collectivite: str, read: FluxRead, at: datetime | None) -> dict[str, object]:
    """Show a flux, as it was at a moment if one is given.

    Raises:
        RequestRefusedError: the stream is no flux, or there was none at that moment.
    """
    if not read.is_of_a_flux:
        raise flux_not_found(flux_id)
    if at is not None:
        read = until(read, at)
    if not read.version:
        raise RequestRefusedError(
            Why.NOT_FOUND,
            "flux-not-yet",
            "Flux inexistant à cet instant",
            f"Le flux {flux_id} n’existait pas encore à cet instant. Choisissez-en un postérieur à son import.",
        )
    return flux_shown(flux_id, collectivite, read)


def stream_routes(*, caller: Callable[..., Awaitable[Caller]], history: History) -> APIRouter:
    """Return the route that shows any stream: of a flux, of a reply, of a collectivité, of the platform."""
    router = APIRouter(prefix="/v1/streams", tags=["history"])

    @router.get("/{address}/events", summary="Lire tous les faits d’un historique, dans l’ordre")
    async def stream_events(
        address: str,
        who: Annotated[Caller, Depends(caller)],
        after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX,
    ) -> Response:
        try:
            stream_id = stream_id_of(address)
        except ValueError as error:
            raise _no_stream(address) from error
        recorded = await _visible(stream_id, who, history, _no_stream(address), after=after, limit=limit)
        following = recorded[-1].version if len(recorded) == limit else None
        return _as_recorded({"stream_id": str(stream_id), "next": following}, "items", recorded)

    return router


async def _visible(
    stream_id: UUID,
    who: Caller,
    history: History,
    not_found: RequestRefusedError,
    *,
    after: int = 0,
    limit: int | None = None,
) -> list[Recorded]:
    """Return events of a stream as they stand, for whoever may read in the collectivité that it is of.

    Raises:
        RequestRefusedError: `not_found`: there is none, or the caller may not see it: nobody can tell which.
    """
    first = await history.recorded(stream_id, limit=1)
    if not first or not who.may(Right.READ, first[0].collectivite):
        raise not_found
    return await history.recorded(stream_id, after=after, limit=limit)


def _as_recorded(members: Mapping[str, object], name: str, recorded: Sequence[Recorded]) -> Response:
    """Answer with events as they were recorded, byte for byte: an event is its bytes."""
    around = json.dumps({**members, name: []}, ensure_ascii=False).removesuffix("[]}")
    body = f"{around}[{','.join(one.body for one in recorded)}]}}"
    return Response(body, media_type="application/json", headers=NO_STORE)


def _no_stream(address: str) -> RequestRefusedError:
    detail = (
        f"Aucun historique « {address[:100]} » n’est visible avec votre compte. Donnez l’identifiant d’un flux ou "
        "d’une réponse, ou collectivite: suivi d’un SIREN, ou platform: suivi de packs, defaults ou bus."
    )
    return RequestRefusedError(Why.NOT_FOUND, "stream-not-found", "Historique introuvable", detail)

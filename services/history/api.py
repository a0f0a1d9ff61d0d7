"""The HTTP API of `history`: what happened to every flux, now and at any past moment."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from services.history.lookups import Lookups
from services.history.ports import Wanted
from shared.facts.lifecycles.flux import State
from shared.journal.history import Recorded
from shared.web.auth import Caller
from shared.web.downloads import streamed
from shared.web.problems import NO_STORE
from shared.web.routing import BoundedRoute
from shared.web.texts import Moment, Sought

PAGE_ROWS_MAX = 500


def routes(lookups: Lookups, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes of `history` about flux."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"], route_class=BoundedRoute)

    @router.get("", summary="Lister les flux, du plus récent au plus ancien, maintenant ou à un instant passé")
    async def list_flux(
        who: Annotated[Caller, Depends(caller)],
        state: Annotated[list[State] | None, Query()] = None,
        collectivite: str = "",
        nomfic: Sought = "",
        sha256: Annotated[str, Query(pattern="^([0-9a-f]{64})?$")] = "",
        at: Moment | None = None,
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = 100,
    ) -> dict[str, object]:
        asked = Wanted(None, tuple(state or ()), nomfic, sha256, at)
        return await lookups.page(who, collectivite, asked, before, limit)

    @router.get("/{flux_id}", summary="Consulter un flux, maintenant ou à un instant passé")
    async def show_flux(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], at: Moment | None = None
    ) -> dict[str, object]:
        return await lookups.flux(flux_id, at, who)

    @router.get("/{flux_id}/events", summary="Lire tous les faits d’un flux, dans l’ordre")
    async def flux_events(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
        return _as_recorded({"flux_id": str(flux_id)}, "events", await lookups.flux_events(flux_id, who))

    @router.get("/{flux_id}/documents", summary="Lister les documents d’un flux")
    async def list_documents(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return {"items": [one.shown() for one in await lookups.documents(flux_id, who)], "next": None}

    @router.get("/{flux_id}/documents/{which}", summary="Lire un document d’un flux, par son rôle ou son empreinte")
    async def read_document(flux_id: UUID, which: str, who: Annotated[Caller, Depends(caller)]) -> Response:
        one = await lookups.document(flux_id, which, who)
        document, pieces = one.document, lookups.store.stream(one.document.sha256)
        return await streamed(pieces, name=one.name, sha256=document.sha256, size=document.size)

    return router


def stream_routes(lookups: Lookups, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the route that shows any stream: of a flux, of a reply, of a collectivité, of the platform."""
    router = APIRouter(prefix="/v1/streams", tags=["history"], route_class=BoundedRoute)

    @router.get("/{address}/events", summary="Lire tous les faits d’un historique, dans l’ordre")
    async def stream_events(
        address: str,
        who: Annotated[Caller, Depends(caller)],
        after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX,
    ) -> Response:
        stream_id, recorded = await lookups.stream_events(address, after, limit, who)
        following = recorded[-1].version if len(recorded) == limit else None
        return _as_recorded({"stream_id": str(stream_id), "next": following}, "items", recorded)

    return router


def _as_recorded(members: Mapping[str, object], name: str, recorded: Sequence[Recorded]) -> Response:
    """Answer with events as they were recorded, byte for byte: an event is its bytes."""
    around = json.dumps({**members, name: []}, ensure_ascii=False).removesuffix("[]}")
    body = f"{around}[{','.join(one.body for one in recorded)}]}}"
    return Response(body, media_type="application/json", headers=NO_STORE)

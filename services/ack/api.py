"""The HTTP API of `ack`: the replies of DGFiP that belong to no flux, and what people decide of them."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from services.ack.replies import Replies
from shared.facts.lifecycles.reply import State
from shared.web.auth import Caller
from shared.web.routing import BoundedRoute
from shared.web.texts import Reason

PAGE_ROWS_MAX = 500


class Link(BaseModel):
    """Which flux a reply is the answer to, and why somebody says so."""

    flux_id: UUID
    reason: Reason


class Dismissal(BaseModel):
    """Why a reply is none of ours."""

    reason: Reason


def routes(replies: Replies, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes of `ack`."""
    router = APIRouter(prefix="/v1/replies", tags=["réponses"], route_class=BoundedRoute)

    @router.get("", summary="Lister les réponses de la DGFiP venues sans flux, de la plus récente à la plus ancienne")
    async def list_replies(
        who: Annotated[Caller, Depends(caller)],
        state: State = State.WAITING,
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = 100,
    ) -> dict[str, object]:
        return await replies.listed(state, before, limit, who)

    @router.get("/{reply_id}", summary="Consulter une réponse venue sans flux")
    async def show_reply(reply_id: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await replies.shown(reply_id, who)

    @router.post("/{reply_id}/link", status_code=202, summary="Rattacher une réponse au flux auquel elle répond")
    async def link_reply(reply_id: UUID, link: Link, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await replies.link(reply_id, link.flux_id, link.reason, who)

    @router.post("/{reply_id}/dismissal", summary="Écarter une réponse qui n’est pas pour la plateforme")
    async def dismiss_reply(
        reply_id: UUID, dismissal: Dismissal, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await replies.dismiss(reply_id, dismissal.reason, who)

    return router

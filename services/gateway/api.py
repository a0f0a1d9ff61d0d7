"""The HTTP API of `gateway`: a person's decision to send, or to send again."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from services.gateway.send_requests import SendRequests
from shared.web.auth import Caller
from shared.web.routing import BoundedRoute
from shared.web.texts import Comment


class SendRequest(BaseModel):
    """Why a suspended sending is to be done again, and the `version` of the flux then; not needed otherwise."""

    reason: Comment = ""
    version: int | None = Field(default=None, ge=1)


def routes(requests: SendRequests, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes of `gateway`."""
    router = APIRouter(prefix="/v1/flux", tags=["transmission"], route_class=BoundedRoute)

    @router.post("/{flux_id}/transmission", summary="Envoyer un flux à la DGFiP, ou l’envoyer de nouveau")
    async def transmit(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], request: SendRequest | None = None
    ) -> JSONResponse:
        asked = request or SendRequest()
        taken = await requests.take(flux_id, asked.reason, who, seen=asked.version)
        return JSONResponse(taken, 202, {"Location": f"/v1/flux/{flux_id}"})

    return router

"""The HTTP API of `gateway`: a person's decision to send, or to send again."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from services.gateway import decide
from shared.facts.lifecycles.flux import Flux, State
from shared.journal.history import History
from shared.web.auth import Caller, Right
from shared.web.deciding import decide_on
from shared.web.texts import Comment


class SendRequest(BaseModel):
    """Why a suspended sending is to be done again; not needed otherwise."""

    reason: Comment = ""


class SendRequests:
    """Records that people want flux to leave; the fact itself, coming back from the bus, has them sent."""

    def __init__(self, *, history: History, now: Callable[[], datetime]) -> None:
        """Record in `history`."""
        self._history = history
        self._now = now

    async def take(self, flux_id: UUID, reason: str, who: Caller) -> dict[str, object]:
        """Record one request and return what the API answers.

        Raises:
            RequestRefusedError: the caller may not see the flux, or as `decide.request` says.
            VersionConflictError: the flux moves faster than we can follow.
        """
        decided = await decide_on(
            flux_id,
            lambda flux, _: decide.request(flux, reason.strip()),
            who=who,
            right=Right.SEND,
            action="envoyer un flux",
            history=self._history,
            now=self._now,
        )
        detail = "L’envoi est demandé." if decided.recorded else _already(decided.flux)
        return _answer(flux_id, decided.flux, detail)


def routes(requests: SendRequests, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes of `gateway`."""
    router = APIRouter(prefix="/v1/flux", tags=["transmission"])

    @router.post("/{flux_id}/transmission", summary="Envoyer un flux à la DGFiP, ou l’envoyer de nouveau")
    async def transmit(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], request: SendRequest | None = None
    ) -> JSONResponse:
        taken = await requests.take(flux_id, request.reason if request else "", who)
        return JSONResponse(taken, 202, {"Location": f"/v1/flux/{flux_id}"})

    return router


def _already(flux: Flux) -> str:
    if flux.state is State.SENDING:
        return "L’envoi est déjà demandé ; rien n’a été ajouté."
    return "Le flux a déjà été transmis à la DGFiP ; rien n’a été ajouté."


def _answer(flux_id: UUID, flux: Flux, detail: str) -> dict[str, object]:
    return {"flux_id": str(flux_id), "state": flux.state, "on_screen": flux.on_screen, "detail": detail}

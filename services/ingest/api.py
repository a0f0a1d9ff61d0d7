"""The HTTP API of `ingest`: import files, cancel a flux."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from services.ingest import decide
from services.ingest.decide import DuplicateError
from services.ingest.importer import Importer, ImportRequest, label
from shared.errors import RequestRefusedError
from shared.web.app import request_id
from shared.web.auth import Caller, Right
from shared.web.multipart import File
from shared.web.problems import problem, problem_members
from shared.web.routing import BoundedRoute
from shared.web.texts import Reason
from shared.web.uploads import Bounds, uploaded

KEY_CHARACTERS_MAX = 200


class Cancellation(BaseModel):
    """Why a flux is withdrawn."""

    reason: Reason


def routes(
    importer: Importer, *, caller: Callable[..., Awaitable[Caller]], bounds: Bounds, history_url: str = ""
) -> APIRouter:
    """Return the routes of `ingest`; `history_url` is where flux are shown to who asks us, and not a proxy."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"], route_class=BoundedRoute)

    @router.post("", status_code=202, summary="Importer un ou plusieurs flux PES")
    async def import_flux(
        request: Request,
        who: Annotated[Caller, Depends(caller)],
        x_collectivite: Annotated[str, Header()] = "",
        x_filename: Annotated[str, Header()] = "",
        x_forwarded_proto: Annotated[str, Header(include_in_schema=False)] = "",
        idempotency_key: Annotated[str, Header(max_length=KEY_CHARACTERS_MAX)] = "",
        send: str = "when_ready",
    ) -> JSONResponse:
        collectivite = who.choose(x_collectivite, Right.SEND, "importer un flux")
        links_to = "" if x_forwarded_proto else history_url
        sending = decide.chosen(send)
        wanted = ImportRequest(collectivite, who.subject, sending, idempotency_key, request_id(request), links_to)
        try:
            async with uploaded(request, bounds, filename=x_filename, done="importés") as upload:
                if upload.is_multipart:
                    return _answer_each(await _take_each(importer, upload.files, wanted))
                taken = await importer.take(await anext(upload.files), wanted)
                return JSONResponse(taken, 202, {"Location": str(taken["href"])})
        except DuplicateError as duplicate:
            return problem(duplicate, {"Content-Location": wanted.link(duplicate.first)})

    @router.post("/{flux_id}/cancellation", summary="Annuler un flux qui n’est pas encore parti")
    async def cancel_flux(
        flux_id: UUID, cancellation: Cancellation, who: Annotated[Caller, Depends(caller)]
    ) -> JSONResponse:
        await importer.cancel(flux_id, cancellation.reason, who)
        return JSONResponse({"flux_id": str(flux_id), "state": "cancelled"})

    return router


async def _take_each(
    importer: Importer, found: AsyncIterator[File], wanted: ImportRequest
) -> list[dict[str, object]]:
    """Import each file of a request; one that is refused does not stop the others."""
    results: list[dict[str, object]] = []
    async for file in found:
        try:
            taken = await importer.take(file, wanted.numbered(len(results)))
            results.append({"status": 202, **taken})
        except RequestRefusedError as refused:
            results.append({"filename": label(file), **problem_members(refused)})
    return results


def _answer_each(results: list[dict[str, object]]) -> JSONResponse:
    """Answer several imports: 202 when all were taken, the refusal when all there was is refused, else 207."""
    taken = [result for result in results if result["status"] == 202]
    headers = {"Location": str(taken[0]["href"])} if taken else {}
    if len(results) == 1 and taken:
        return JSONResponse({key: value for key, value in taken[0].items() if key != "status"}, 202, headers)
    if len(results) == 1:
        return JSONResponse(results[0], int(str(results[0]["status"])), headers, "application/problem+json")
    return JSONResponse({"results": results}, 202 if len(taken) == len(results) else 207, headers)

"""The HTTP API of `validation`: check files without importing them, and read what was found in a flux."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from services.validation.preflight import Checks
from services.validation.reports import Attachment, Reports
from shared.web.auth import Caller, Right
from shared.web.problems import NO_STORE
from shared.web.texts import Reason
from shared.web.uploads import Bounds, uploaded

WhoDependency = Callable[..., Awaitable[Caller]]


class Acceptance(BaseModel):
    """Why a flux that repeats another is to be sent all the same."""

    reason: Reason


def check_routes(checks: Checks, *, caller: WhoDependency, bounds: Bounds) -> APIRouter:
    """Return the route that checks files without importing them."""
    router = APIRouter(prefix="/v1/checks", tags=["contrôles"])

    @router.post("", summary="Contrôler un ou plusieurs fichiers sans les importer")
    async def check_files(
        request: Request,
        who: Annotated[Caller, Depends(caller)],
        x_collectivite: Annotated[str, Header()] = "",
        x_filename: Annotated[str, Header()] = "",
        pack: Annotated[str, Query(max_length=100)] = "",
    ) -> JSONResponse:
        collectivite = who.choose(x_collectivite, Right.READ, "contrôler un fichier")
        async with uploaded(request, bounds, filename=x_filename) as upload:
            results = [await checks.check(file, collectivite, pack) async for file in upload.files]
        return JSONResponse(results, headers=NO_STORE)

    return router


def flux_routes(reports: Reports, *, caller: WhoDependency) -> APIRouter:
    """Return the routes that tell what was found in a flux."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"])

    @router.get("/{flux_id}/findings", summary="Lire toutes les anomalies d’un flux")
    async def findings(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await reports.findings(flux_id, who)

    @router.get("/{flux_id}/synthese", summary="Lire ce que contient un flux, page par page")
    async def synthese(
        flux_id: UUID, who: Annotated[Caller, Depends(caller)], page: Annotated[int, Query(ge=0)] = 0
    ) -> dict[str, object]:
        return await reports.synthese(flux_id, who, page)

    @router.get("/{flux_id}/difference", summary="Comparer un flux avec une autre version")
    async def difference(flux_id: UUID, since: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await reports.difference(since, flux_id, who)

    @router.get("/{flux_id}/attachments/{position}", summary="Extraire une pièce jointe")
    async def attachment(flux_id: UUID, position: int, who: Annotated[Caller, Depends(caller)]) -> Response:
        return _as_a_file(await reports.attachment(flux_id, position, who))

    @router.post("/{flux_id}/duplicate-acceptance", status_code=202, summary="Accepter d’envoyer de nouveau")
    async def accept(
        flux_id: UUID, acceptance: Acceptance, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await reports.accept(flux_id, acceptance.reason, who)

    return router


def _as_a_file(attachment: Attachment) -> Response:
    """Answer with a PJ, never shown in the browser's own page: its content is the sender's, not ours."""
    headers = {
        **NO_STORE,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(attachment.sha256)).decode()}:",
    }
    return Response(attachment.content, headers=headers, media_type="application/octet-stream")

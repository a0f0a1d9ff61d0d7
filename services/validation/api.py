"""The HTTP API of `validation`: check files without importing them, and read what was found in a flux."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import unquote
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from pes.units import MEBIBYTE
from services.validation.preflight import Checks
from services.validation.reports import Reports
from shared.errors import RequestRefusedError, TooLargeError
from shared.web.app import NO_STORE
from shared.web.auth import Caller, Right
from shared.web.multipart import DEFAULT_FILENAME, Body, File, boundary_of, files
from shared.web.texts import Reason

WhoDependency = Callable[..., Awaitable[Caller]]


class Acceptance(BaseModel):
    """Why a flux that repeats another is to be sent all the same."""

    reason: Reason


def check_routes(checks: Checks, *, caller: WhoDependency, file_bytes_max: int, files_max: int) -> APIRouter:
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
        boundary = boundary_of(request.headers.get("content-type", ""))
        body = Body(request.stream(), drained_bytes_max=file_bytes_max)
        results: list[dict[str, object]] = []
        try:
            if boundary is None:
                file = File(unquote(x_filename) or DEFAULT_FILENAME, body)
                results.append(await checks.check(file, collectivite, pack))
            else:
                async for file in files(body, boundary):
                    if len(results) == files_max:
                        raise _too_many(files_max)
                    results.append(await checks.check(file, collectivite, pack))
        except TooLargeError as error:
            await body.drain()
            raise _too_large(error.bytes_max) from error
        except RequestRefusedError:
            await body.drain()  # so that the caller, still sending, gets to read the refusal
            raise
        except ClientDisconnect as error:
            raise RequestRefusedError(400, "cut-off", "Envoi interrompu", "L'envoi s'est interrompu.") from error
        if not results:
            raise RequestRefusedError(
                400, "no-file", "Aucun fichier", "La demande ne contient aucun fichier. Joignez au moins un PES."
            )
        return JSONResponse(results, headers=NO_STORE)

    return router


def flux_routes(reports: Reports, *, caller: WhoDependency) -> APIRouter:
    """Return the routes that tell what was found in a flux."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"])

    @router.get("/{flux_id}/findings", summary="Lire toutes les anomalies d'un flux")
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
        return await reports.attachment(flux_id, position, who)

    @router.post("/{flux_id}/duplicate-acceptance", status_code=202, summary="Accepter d'envoyer de nouveau")
    async def accept(
        flux_id: UUID, acceptance: Acceptance, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await reports.accept(flux_id, acceptance.reason, who)

    return router


def _too_large(bytes_max: int) -> RequestRefusedError:
    return RequestRefusedError(
        413,
        "too-large",
        "Fichier trop volumineux",
        f"Le fichier dépasse {bytes_max // MEBIBYTE} Mio, la taille la plus grande qu'accepte la plateforme.",
        extra={"bytes_max": bytes_max},
    )


def _too_many(files_max: int) -> RequestRefusedError:
    return RequestRefusedError(
        413,
        "too-many-files",
        "Trop de fichiers",
        f"Une demande peut contenir au plus {files_max} fichiers. Envoyez les suivants dans une autre demande.",
        extra={"files_max": files_max},
    )

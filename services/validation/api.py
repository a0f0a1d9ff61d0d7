"""The HTTP API of `validation`: what is found in files, flux or not; what they are judged by, and who is who."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from pes.schemas.packs import ARCHIVE_BYTES_MAX
from services.validation.administration import Administration
from services.validation.collectivites import Identities
from services.validation.preflight import Checks
from services.validation.reports import Reports
from services.validation.requests import ChannelChoice, ControlChange, PackChange, Registration, Withdrawal
from shared.errors import RequestRefusedError, Why
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import Siren
from shared.web.auth import Caller, Right
from shared.web.bodies import read_whole
from shared.web.downloads import as_a_file
from shared.web.problems import NO_STORE
from shared.web.routing import BoundedRoute
from shared.web.texts import Reason
from shared.web.uploads import Bounds, uploaded

WhoDependency = Callable[..., Awaitable[Caller]]
SirenInPath = Annotated[Siren, Path()]


class Acceptance(BaseModel):
    """Why a flux that repeats another is to be sent all the same; `version`: of the flux, as it named the other."""

    reason: Reason
    version: int = Field(ge=1)


def check_routes(checks: Checks, *, caller: WhoDependency, bounds: Bounds) -> APIRouter:
    """Return the route that checks files without importing them."""
    router = APIRouter(prefix="/v1/checks", tags=["contrôles"], route_class=BoundedRoute)

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
    router = APIRouter(prefix="/v1/flux", tags=["flux"], route_class=BoundedRoute)

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
        found = await reports.attachment(flux_id, position, who)
        return as_a_file(found.content, name=found.name)

    @router.post("/{flux_id}/duplicate-acceptance", status_code=202, summary="Accepter d’envoyer de nouveau")
    async def accept(
        flux_id: UUID, acceptance: Acceptance, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await reports.accept(flux_id, acceptance.reason, who, seen=acceptance.version)

    return router


def administration_routes(administration: Administration, *, caller: WhoDependency) -> APIRouter:
    """Return the routes for packs and policies."""
    router = APIRouter(prefix="/v1", tags=["administration"], route_class=BoundedRoute)
    _add_packs(router, administration, caller)
    _add_controls(router, administration, caller)
    return router


def _add_packs(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/schemas", summary="Lister les packs de schémas")
    async def list_packs(who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        who.require_somewhere(Right.READ, "consulter les packs de schémas")
        return {"packs": await administration.listed()}

    @router.get("/schemas/{pack_id}", summary="Télécharger un pack de schémas (archive ZIP)")
    async def pack_archive(pack_id: str, who: Annotated[Caller, Depends(caller)]) -> Response:
        who.require_somewhere(Right.READ, "consulter les packs de schémas")
        return Response(await administration.archive(pack_id), headers=NO_STORE, media_type="application/zip")

    @router.post("/schemas/{pack_id}", status_code=201, summary="Installer un pack de schémas (archive ZIP)")
    async def install_pack(
        pack_id: str,
        request: Request,
        who: Annotated[Caller, Depends(caller)],
        change: Annotated[PackChange, Query()],
    ) -> dict[str, object]:
        administration.require_installing(who)
        content = await read_whole(
            request,
            ARCHIVE_BYTES_MAX,
            title="Archive trop volumineuse",
            detail=f"Un pack fait {ARCHIVE_BYTES_MAX} octets au plus.",
        )
        return await administration.install(content, change, _checked_id(pack_id), who)

    @router.put("/schemas/{pack_id}", summary="Changer la période ou l’usage d’un pack")
    async def change_pack(
        pack_id: str, change: PackChange, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await administration.change(pack_id, change, who)


def _add_controls(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/controls", summary="Lister les contrôles et leur gravité")
    async def list_controls(
        who: Annotated[Caller, Depends(caller)], collectivite: str = EVERY_COLLECTIVITE
    ) -> dict[str, object]:
        action = "consulter les contrôles"
        if collectivite == EVERY_COLLECTIVITE:
            who.require_somewhere(Right.READ, action)
            return await administration.controls(EVERY_COLLECTIVITE)
        return await administration.controls(who.choose(collectivite, Right.READ, action))

    @router.put("/controls/{code}", summary="Changer la gravité d’un contrôle")
    async def change_control(
        code: str, change: ControlChange, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await administration.set_severity(code, change, who)


def collectivite_routes(identities: Identities, *, caller: WhoDependency) -> APIRouter:
    """Return the routes that show and change who a collectivité is."""
    router = APIRouter(prefix="/v1/collectivites", tags=["collectivités"], route_class=BoundedRoute)

    @router.get("", summary="Lister les collectivités")
    async def list_all(who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await identities.listed(who)

    @router.get("/{siren}", summary="Consulter une collectivité, ses identifiants et son canal")
    async def show(siren: SirenInPath, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await identities.shown(siren, who)

    @router.get("/{siren}/identifiers/seen", summary="Lister ce que nomment les flux acquittés, et qui manque")
    async def seen(siren: SirenInPath, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await identities.seen(siren, who)

    @router.post("/{siren}/identifiers", summary="Enregistrer des identifiants, ou ceux que nomme un flux")
    async def register(
        siren: SirenInPath, asked: Registration, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await identities.register(siren, asked, who)

    @router.post("/{siren}/identifiers/withdrawal", summary="Retirer des identifiants")
    async def withdraw(
        siren: SirenInPath, asked: Withdrawal, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await identities.withdraw(siren, asked, who)

    @router.put("/{siren}/channel", summary="Choisir le canal d’envoi (hébergeur)")
    async def choose_channel(
        siren: SirenInPath, asked: ChannelChoice, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await identities.choose_channel(siren, asked, who)

    return router


def _checked_id(pack_id: str) -> str:
    if not (pack_id.isascii() and pack_id.isprintable() and 1 <= len(pack_id) <= 100 and "/" not in pack_id):
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "pack-id-invalid",
            "Nom invalide",
            "Le nom d’un pack fait 1 à 100 caractères, sans accent ni « / ».",
        )
    return pack_id

"""The HTTP API for those who run `validation`: schema packs, and how serious each control is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, model_validator

from pes.controls.catalogue import ALL, BY_CODE
from pes.judge import SCHEMA
from pes.schemas.packs import ARCHIVE_BYTES_MAX, PackError, PackFiles, read_archive
from pes.tasks import compile_files
from services.validation.ports import InstalledPack, Packs, Policies, PolicyChange, Role, Workers
from shared.errors import RequestRefusedError, Why
from shared.runtime.workers import WorkerLostError
from shared.web.auth import EVERY_COLLECTIVITE, Caller, Right
from shared.web.bodies import read_whole
from shared.web.problems import NO_STORE
from shared.web.texts import Reason

WhoDependency = Callable[..., Awaitable[Caller]]


class PackChange(BaseModel):
    """When and how a pack applies from now on."""

    role: Role | None = None
    effective_from: date | None = None
    effective_until: date | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.effective_from and self.effective_until and self.effective_until <= self.effective_from:
            raise ValueError("effective_until must come after effective_from")
        return self


class ControlChange(BaseModel):
    """How serious a control is from now on; `default` takes back what was said before."""

    collectivite: str = Field(default=EVERY_COLLECTIVITE, pattern=r"^(\*|[0-9]{9})$")
    severity: Literal["blocking", "warning", "default"]
    reason: Reason


@dataclass(frozen=True)
class Administration:
    """Installs packs and changes policies."""

    packs: Packs
    policies: Policies
    workers: Workers
    now: Callable[[], datetime]

    async def install(self, content: bytes, change: PackChange, pack_id: str, who: Caller) -> dict[str, object]:
        """Install a pack from a ZIP archive, once it is known to compile.

        Raises:
            RequestRefusedError: the archive is no pack, or its id is taken.
        """
        try:
            pack = await asyncio.to_thread(read_archive, content, pack_id)
            fault = await self.workers.run(compile_files, pack)
        except PackError as error:
            raise _no_pack(str(error)) from error
        except WorkerLostError as error:
            raise _no_pack(f"Sa compilation échoue ({error}).") from error
        if fault:
            raise _no_pack(fault)
        installed = InstalledPack(
            pack.pack_id,
            pack.digest,
            change.role or "active",
            change.effective_from or self.now().date(),
            change.effective_until,
            self.now(),
            who.subject,
        )
        if not await self.packs.install(pack, installed):
            return await self._already(pack)
        return _shown(installed)

    async def archive(self, pack_id: str) -> bytes:
        """Return the files of a pack, as the archive that `install` takes."""
        for pack in await self.packs.all():
            if pack.pack_id == pack_id:
                return (await self.packs.files(pack.digest)).archive()
        raise _unknown(pack_id)

    async def change(self, pack_id: str, change: PackChange) -> dict[str, object]:
        """Change when and how a pack applies."""
        known = next((pack for pack in await self.packs.all() if pack.pack_id == pack_id), None)
        since = change.effective_from or (known and known.effective_from)
        if since and change.effective_until and change.effective_until <= since:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "dates-invalid",
                "Période impossible",
                f"La fin ({change.effective_until}) précède le début ({since}).",
            )
        if not await self.packs.change(pack_id, change.role, change.effective_from, change.effective_until):
            raise _unknown(pack_id)
        return next(_shown(pack) for pack in await self.packs.all() if pack.pack_id == pack_id)

    async def controls(self, collectivite: str) -> dict[str, object]:
        """Return every control, and how serious it is for a collectivité."""
        policy = await self.policies.of(collectivite)
        listed = [
            {
                "code": control.code,
                "severity": policy.get(control.code, control.severity),
                "default": control.severity,
                "is_fixed": control.is_fixed,
                "checks": control.checks,
                "source": control.source,
                "who": control.who,
            }
            for control in ALL
        ]
        changes = [asdict(change) for change in await self.policies.changes(collectivite)]
        return {
            "collectivite": collectivite,
            "schema": policy.get(SCHEMA, "blocking"),
            "controls": listed,
            "changes": changes,
        }

    async def set_severity(self, code: str, change: ControlChange, who: Caller) -> dict[str, object]:
        """Record how serious a control is from now on.

        Raises:
            RequestRefusedError: the control is unknown or fixed, or the caller has not the right.
        """
        if change.collectivite == EVERY_COLLECTIVITE:
            who.require(Right.OPERATE, EVERY_COLLECTIVITE, "changer un contrôle pour toutes les collectivités")
        who.require(Right.ADMINISTER, change.collectivite, "changer la gravité d'un contrôle")
        control = BY_CODE.get(code)
        if control is None and code != SCHEMA:
            raise RequestRefusedError(
                Why.NOT_FOUND, "control-not-found", "Contrôle inconnu", f"Aucun contrôle « {code} »."
            )
        if control is not None and control.is_fixed:
            raise RequestRefusedError(
                Why.AS_THINGS_STAND,
                "control-fixed",
                "Contrôle obligatoire",
                f"Le contrôle « {code} » ne peut pas être assoupli.",
            )
        severity = None if change.severity == "default" else change.severity
        recorded = PolicyChange(change.collectivite, code, severity, change.reason.strip(), who.subject, self.now())
        await self.policies.record(recorded)
        return asdict(recorded)

    async def _already(self, pack: PackFiles) -> dict[str, object]:
        for one in await self.packs.all():
            if (one.pack_id, one.digest) == (pack.pack_id, pack.digest):
                return _shown(one)  # asked twice
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "pack-id-taken",
            "Nom déjà pris",
            f"Un autre pack porte déjà le nom « {pack.pack_id} ». Donnez-en un autre : un pack ne change jamais.",
        )


def administration_routes(administration: Administration, *, caller: WhoDependency) -> APIRouter:
    """Return the routes for packs and policies."""
    router = APIRouter(prefix="/v1", tags=["administration"])
    _add_packs(router, administration, caller)
    _add_controls(router, administration, caller)
    return router


def _add_packs(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/schemas", summary="Lister les packs de schémas")
    async def list_packs(who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        who.require_somewhere(Right.READ, "consulter les packs de schémas")
        return {"packs": [_shown(pack) for pack in await administration.packs.all()]}

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
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "installer un pack de schémas")
        content = await read_whole(
            request,
            ARCHIVE_BYTES_MAX,
            title="Archive trop volumineuse",
            detail=f"Un pack fait {ARCHIVE_BYTES_MAX} octets au plus.",
        )
        return await administration.install(content, change, _checked_id(pack_id), who)

    @router.put("/schemas/{pack_id}", summary="Changer la période ou le rôle d'un pack")
    async def change_pack(
        pack_id: str, change: PackChange, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "changer un pack de schémas")
        return await administration.change(pack_id, change)


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

    @router.put("/controls/{code}", summary="Changer la gravité d'un contrôle")
    async def change_control(
        code: str, change: ControlChange, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await administration.set_severity(code, change, who)


def _checked_id(pack_id: str) -> str:
    if not (pack_id.isascii() and pack_id.isprintable() and 1 <= len(pack_id) <= 100 and "/" not in pack_id):
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "pack-id-invalid",
            "Nom invalide",
            "Le nom d'un pack fait 1 à 100 caractères, sans accent ni « / ».",
        )
    return pack_id


def _unknown(pack_id: str) -> RequestRefusedError:
    detail = f"Aucun pack de schémas « {pack_id} » n'est installé. Voyez la liste des packs."
    return RequestRefusedError(Why.NOT_FOUND, "pack-not-found", "Pack inconnu", detail)


def _no_pack(reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE, "not-a-pack", "Ce n'est pas un pack de schémas", f"{reason} Rien n'est installé."
    )


def _shown(pack: InstalledPack) -> dict[str, object]:
    members = asdict(pack)
    for name in ("effective_from", "effective_until", "installed_at"):
        members[name] = members[name].isoformat() if members[name] is not None else None
    return members

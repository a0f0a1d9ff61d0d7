"""The HTTP API for those who run `validation`: schema packs, and how serious each control is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, model_validator

from pes.controls.catalogue import ALL
from pes.judge import SCHEMA
from pes.schemas.packs import ARCHIVE_BYTES_MAX, PackError, PackFiles, built_in, read_archive
from pes.tasks import compile_files
from services.validation import rules
from services.validation.ports import InstalledPack, Packs, Policies, PolicyChange, Workers
from shared.errors import RequestRefusedError, Why
from shared.facts.collectivite import PolicySet
from shared.facts.fact import Fact
from shared.facts.lifecycles.platform import fold
from shared.facts.platform import PackInstalled, PackUse
from shared.facts.streams import EVERY_COLLECTIVITE, collectivite_stream, platform_stream
from shared.facts.values import SirenOrAll
from shared.journal.decisions import decide_in
from shared.journal.history import History
from shared.runtime.workers import WorkerLostError
from shared.web.auth import Caller, Right
from shared.web.bodies import read_whole
from shared.web.problems import NO_STORE
from shared.web.texts import Reason

WhoDependency = Callable[..., Awaitable[Caller]]


class PackChange(BaseModel):
    """When and how a pack applies from now on."""

    use: PackUse | None = None
    effective_from: date | None = None
    effective_until: date | None = None
    reason: Reason

    @model_validator(mode="before")
    @classmethod
    def _was_called_role(cls, given: object) -> object:
        """Take `role`, as `use` was called in 0.1: ignoring it would put a pack on trial in service."""
        if isinstance(given, dict) and "role" in given:
            return {"use": given["role"], **given}
        return given

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.effective_from and self.effective_until and self.effective_until <= self.effective_from:
            raise ValueError("effective_until doit venir après effective_from.")
        return self


class ControlChange(BaseModel):
    """How serious a control is from now on; `default` takes back what was said before."""

    collectivite: SirenOrAll = EVERY_COLLECTIVITE
    severity: Literal["blocking", "warning", "default"]
    reason: Reason


@dataclass(frozen=True)
class Administration:
    """Installs packs and changes policies: each is a fact, and is read back from what follows from it."""

    history: History
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
        wanted = PackInstalled(
            pack=pack.pack,
            use=change.use or "active",
            effective_from=change.effective_from or self.now().date(),
            effective_until=change.effective_until,
            reason=change.reason,
        )
        await self._decide_on_packs(
            lambda past: rules.install(fold(past), wanted, built_in().pack), pack=pack, who=who
        )
        return await self._shown(pack_id)

    async def archive(self, pack_id: str) -> bytes:
        """Return the files of a pack, as the archive that `install` takes."""
        for pack in await self.packs.all():
            if pack.pack_id == pack_id:
                return (await self.packs.files(pack.digest)).archive()
        raise rules.unknown_pack(pack_id)

    async def change(self, pack_id: str, change: PackChange, who: Caller) -> dict[str, object]:
        """Change when and how a pack applies."""
        ours = built_in()
        await self._decide_on_packs(
            lambda past: rules.change(fold(past), pack_id, built_in=ours.pack, **change.model_dump()),
            pack=ours,
            who=who,
        )
        return await self._shown(pack_id)

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
        who.require(Right.ADMINISTER, change.collectivite, "changer la gravité d’un contrôle")
        is_for_all = change.collectivite == EVERY_COLLECTIVITE
        stream = platform_stream("defaults") if is_for_all else collectivite_stream(change.collectivite)
        severity = None if change.severity == "default" else change.severity

        async def decide(past: Sequence[Fact]) -> list[Fact]:
            return rules.set_severity(past, change.collectivite, code, severity, change.reason)

        told = await decide_in(
            stream, decide, collectivite=change.collectivite, actor=who.subject, history=self.history, now=self.now
        )
        said = next(one for one in reversed(told) if isinstance(one.data, PolicySet) and one.data.code == code)
        return asdict(PolicyChange(change.collectivite, code, severity, change.reason, said.actor, said.occurred_at))

    async def _decide_on_packs(
        self, decide: Callable[[Sequence[Fact]], list[Fact]], *, pack: PackFiles, who: Caller
    ) -> None:
        """Record what is decided on packs; the files of `pack` are kept first if it is to be installed."""

        async def decide_and_keep(past: Sequence[Fact]) -> list[Fact]:
            facts = decide(past)
            if any(isinstance(fact, PackInstalled) for fact in facts):
                await self.packs.keep(pack)
            return facts

        await decide_in(
            platform_stream("packs"),
            decide_and_keep,
            collectivite=EVERY_COLLECTIVITE,
            actor=who.subject,
            history=self.history,
            now=self.now,
        )

    async def _shown(self, pack_id: str) -> dict[str, object]:
        return next(_shown(pack) for pack in await self.packs.all() if pack.pack_id == pack_id)


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

    @router.put("/schemas/{pack_id}", summary="Changer la période ou l’usage d’un pack")
    async def change_pack(
        pack_id: str, change: PackChange, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "changer un pack de schémas")
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


def _checked_id(pack_id: str) -> str:
    if not (pack_id.isascii() and pack_id.isprintable() and 1 <= len(pack_id) <= 100 and "/" not in pack_id):
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "pack-id-invalid",
            "Nom invalide",
            "Le nom d’un pack fait 1 à 100 caractères, sans accent ni « / ».",
        )
    return pack_id


def _no_pack(reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE, "not-a-pack", "Ce n’est pas un pack de schémas", f"{reason} Rien n’est installé."
    )


def _shown(pack: InstalledPack) -> dict[str, object]:
    members = asdict(pack)
    for name in ("effective_from", "effective_until", "installed_at"):
        members[name] = members[name].isoformat() if members[name] is not None else None
    return members

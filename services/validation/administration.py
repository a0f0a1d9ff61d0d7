"""What flux are judged by, as those who run `validation` decide: schema packs, and how serious each control is."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pes.controls.catalogue import ALL
from pes.judge import SCHEMA
from pes.schemas.packs import PackError, PackFiles, built_in, read_archive
from pes.tasks import compile_files
from services.validation import rules
from services.validation.ports import InstalledPack, Packs, Policies, PolicyChange, Workers
from services.validation.requests import ControlChange, PackChange
from shared.errors import RequestRefusedError, Why
from shared.facts.collectivite import PolicySet
from shared.facts.fact import Fact
from shared.facts.lifecycles.platform import fold
from shared.facts.platform import PackInstalled
from shared.facts.streams import EVERY_COLLECTIVITE, decisions_stream, platform_stream
from shared.journal.decisions import decide_in, last_word
from shared.journal.history import History
from shared.runtime.workers import WorkerLostError
from shared.web.auth import Caller, Right


@dataclass(frozen=True)
class Administration:
    """Installs packs and changes policies: each is a fact, and is read back from what follows from it."""

    history: History
    packs: Packs
    policies: Policies
    workers: Workers
    now: Callable[[], datetime]

    async def listed(self) -> list[dict[str, object]]:
        """Return every pack, and when and how it applies."""
        return [_shown(pack) for pack in await self.packs.all()]

    @staticmethod
    def require_installing(who: Caller) -> None:
        """Refuse who may not install a pack: asked before an archive is read, and again by `install`."""
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "installer un pack de schémas")

    async def install(self, content: bytes, change: PackChange, pack_id: str, who: Caller) -> dict[str, object]:
        """Install a pack from a ZIP archive, once it is known to compile.

        Raises:
            RequestRefusedError: the archive is no pack, or its id is taken; or the caller has not the right.
        """
        self.require_installing(who)
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
        """Change when and how a pack applies.

        Raises:
            RequestRefusedError: it is not there; or the caller has not the right.
        """
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "changer un pack de schémas")
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
        severity = None if change.severity == "default" else change.severity

        async def decide(past: Sequence[Fact]) -> list[Fact]:
            return rules.set_severity(past, change.collectivite, code, severity, change.reason)

        decided = await decide_in(
            decisions_stream(change.collectivite),
            decide,
            collectivite=change.collectivite,
            actor=who.subject,
            history=self.history,
            now=self.now,
        )
        said, fact = last_word(decided.events, PolicySet, lambda one: one.code == code)
        return asdict(PolicyChange(change.collectivite, code, severity, fact.reason, said.actor, said.occurred_at))

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


def _no_pack(reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE, "not-a-pack", "Ce n’est pas un pack de schémas", f"{reason} Rien n’est installé."
    )


def _shown(pack: InstalledPack) -> dict[str, object]:
    members = asdict(pack)
    for name in ("effective_from", "effective_until", "installed_at"):
        members[name] = members[name].isoformat() if members[name] is not None else None
    return members

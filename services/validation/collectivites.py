"""The HTTP API for those who administer a collectivité: what DGFiP knows it by, and which way its flux take."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import reduce
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from services.validation import identity
from services.validation.ports import Collectivites
from services.validation.reports import blocking
from shared.errors import NameTakenError, RequestRefusedError, VersionConflictError, Why
from shared.facts.collectivite import Identifier
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxInvalidated
from shared.facts.lifecycles.collectivite import Collectivite, fold
from shared.facts.lifecycles.flux import Flux
from shared.facts.streams import collectivite_stream
from shared.journal.history import History
from shared.retrying import until_no_conflict
from shared.web.auth import EVERY_COLLECTIVITE, Caller, Right
from shared.web.deciding import decide_on, load_flux
from shared.web.problems import flux_not_found
from shared.web.texts import Reason

logger = logging.getLogger(__name__)

WhoDependency = Callable[..., Awaitable[Caller]]
SirenInPath = Annotated[str, Path(pattern=r"^[0-9]{9}$")]
IDENTIFIERS_MAX = 500
JUDGED_ANEW_MAX = 500
_WRITTEN: TypeAdapter[Sequence[Identifier]] = TypeAdapter(Sequence[Identifier])


class Registration(BaseModel):
    """What to register, and why: these identifiers, or those that a flux names."""

    identifiers: tuple[Identifier, ...] = Field(default=(), max_length=IDENTIFIERS_MAX)
    flux_id: UUID | None = None
    reason: Reason

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if bool(self.identifiers) == (self.flux_id is not None):
            raise ValueError("give identifiers or a flux_id, one of both")
        return self


class Withdrawal(BaseModel):
    """What to withdraw, and why."""

    identifiers: tuple[Identifier, ...] = Field(min_length=1, max_length=IDENTIFIERS_MAX)
    reason: Reason


class ChannelChoice(BaseModel):
    """The channel that the flux leave by, as the gateway names it, and why."""

    channel: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")
    reason: Reason


@dataclass(frozen=True)
class Identities:
    """Registers what DGFiP knows the collectivités by."""

    history: History
    collectivites: Collectivites
    now: Callable[[], datetime]

    async def listed(self, who: Caller) -> dict[str, object]:
        """Return the collectivités that the caller may see."""
        known = [one for one in await self.collectivites.all() if who.may(Right.READ, one.siren)]
        return {"collectivites": [asdict(one) for one in known]}

    async def shown(self, siren: str, who: Caller) -> dict[str, object]:
        """Return who a collectivité is."""
        who.require(Right.READ, siren, "consulter une collectivité")
        known = next((one for one in await self.collectivites.all() if one.siren == siren), None)
        if known is None:
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "collectivite-not-open",
                "Collectivité pas encore ouverte",
                f"Rien n'est enregistré pour la collectivité {siren}. Elle s'ouvre avec le premier identifiant "
                "que son administrateur enregistre : heliotrope collectivites identifiers add.",
            )
        registered = [
            asdict(one) | {"identifier": one.identifier.model_dump()}
            for one in await self.collectivites.registered(siren)
        ]
        return asdict(known) | {"identifiers": registered}

    async def seen(self, siren: str, who: Caller) -> dict[str, object]:
        """Return what the flux that DGFiP took in have named so far and is not registered."""
        who.require(Right.READ, siren, "consulter une collectivité")
        known = await self.collectivites.identifiers(siren)
        found = [one for one in await self.collectivites.seen(siren) if one.identifier not in known]
        return {"siren": siren, "seen": [asdict(one) | {"identifier": one.identifier.model_dump()} for one in found]}

    async def register(self, siren: str, asked: Registration, who: Caller) -> dict[str, object]:
        """Register identifiers, and have every flux that was refused for nothing else judged anew.

        Raises:
            RequestRefusedError: the caller may not; there is no such flux, or it does not say who it is from; another
                collectivité has one of them.
        """
        who.require(Right.ADMINISTER, siren, "enregistrer un identifiant")
        wanted = asked.identifiers
        if asked.flux_id is not None:
            wanted = await self._named_by(asked.flux_id, siren, who)
        collectivite, recorded = await self._decide(
            siren, lambda now: identity.register(now, siren, wanted, asked.reason), who
        )
        answer = _answer(collectivite, siren, recorded)
        if asked.flux_id is not None:
            answer["flux"] = await self._judge_anew(asked.flux_id, collectivite, asked.reason, who)
        others = await self._refused(siren)
        anew = [one for one in others if await self._is_judged_anew(one, collectivite, asked.reason, who)]
        return answer | {"others_judged_anew": [str(one) for one in anew]}

    async def withdraw(self, siren: str, asked: Withdrawal, who: Caller) -> dict[str, object]:
        """Withdraw identifiers: the next flux that names one is refused."""
        who.require(Right.ADMINISTER, siren, "retirer un identifiant")
        done = await self._decide(siren, lambda now: identity.withdraw(now, asked.identifiers, asked.reason), who)
        return _answer(done[0], siren, done[1])

    async def choose_channel(self, siren: str, asked: ChannelChoice, who: Caller) -> dict[str, object]:
        """Have the flux of a collectivité leave by a channel: the exploitant knows which there are."""
        who.require(Right.OPERATE, siren, "choisir le canal d'envoi")
        done = await self._decide(
            siren, lambda now: identity.choose_channel(now, siren, asked.channel, asked.reason), who
        )
        return _answer(done[0], siren, done[1])

    async def _named_by(self, flux_id: UUID, siren: str, who: Caller) -> tuple[Identifier, ...]:
        known = await load_flux(flux_id, who=who, history=self.history)
        if known.collectivite != siren:
            raise flux_not_found(flux_id)
        try:
            if known.flux.header is not None:
                return identity.named_by(known.flux.header)
        except ValidationError:
            pass  # said below
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "nothing-named",
            "Rien à enregistrer",
            f"Le flux est dans l'état « {known.flux.on_screen} », et son SIRET, son poste, son CodCol et son CodBud "
            "n'ont pas pu être lus. Attendez la fin de son contrôle, ou corrigez d'abord ses autres anomalies.",
        )

    async def _refused(self, siren: str) -> Sequence[UUID]:
        """Return the last flux of a collectivité that validation refused, so many at most."""
        refused = await self.history.whose_last_fact_is(kind_of(FluxInvalidated), [siren])
        return refused[-JUDGED_ANEW_MAX:]

    async def _is_judged_anew(self, flux_id: UUID, collectivite: Collectivite, reason: str, who: Caller) -> bool:
        try:
            return bool((await self._judge_anew(flux_id, collectivite, reason, who))["is_judged_anew"])
        except (
            RequestRefusedError,
            VersionConflictError,
        ) as error:  # the others go on
            logger.warning("identifiers.not_judged_anew", extra={"flux_id": str(flux_id), "reason": str(error)})
            return False

    async def _judge_anew(
        self, flux_id: UUID, collectivite: Collectivite, reason: str, who: Caller
    ) -> dict[str, object]:
        def complete(flux: Flux, past: Sequence[Event]) -> list[Fact]:
            codes = [one.code for one in blocking(past)]
            return identity.complete(flux, codes, collectivite.identifiers, reason)

        decided = await decide_on(
            flux_id,
            complete,
            who=who,
            right=Right.ADMINISTER,
            action="faire contrôler un flux de nouveau",
            history=self.history,
            now=self.now,
        )
        return {
            "flux_id": str(flux_id),
            "state": decided.flux.state,
            "on_screen": decided.flux.on_screen,
            "is_judged_anew": bool(decided.recorded),
        }

    async def _decide(
        self, siren: str, decide: Callable[[Collectivite], Sequence[Fact]], who: Caller
    ) -> tuple[Collectivite, Sequence[Fact]]:
        """Record what is decided of a collectivité as it is; again if someone appended first."""
        stream = collectivite_stream(siren)

        async def attempt() -> tuple[Collectivite, Sequence[Fact]]:
            past = await self.history.load(stream.id)
            before = fold(event.data for event in past)
            facts = decide(before)
            if not facts:
                return before, ()
            after = reduce(Collectivite.evolve, facts, before)
            request = new_id()
            events = [
                Event.first(
                    fact,
                    stream=stream,
                    collectivite=siren,
                    actor=who.subject,
                    correlation_id=request,
                    at=self.now(),
                )
                for fact in facts
            ]
            await self.history.append(events, expected_version=before.version)
            return after, facts

        try:
            return await until_no_conflict(attempt)
        except NameTakenError as taken:
            raise await self._taken(taken, who) from taken

    async def _taken(self, taken: NameTakenError, who: Caller) -> RequestRefusedError:
        """Return the refusal of what another collectivité has: only the exploitant is told which."""
        whose = "d'une autre collectivité"
        if who.may(Right.OPERATE, EVERY_COLLECTIVITE):
            (holder,) = await self.history.recorded(taken.stream_id, limit=1)
            whose = f"de la collectivité {holder.collectivite}"
        return RequestRefusedError(
            Why.AS_THINGS_STAND,
            "identifier-taken",
            "Budget déjà enregistré",
            f"Un budget (poste, CodCol, CodBud) que vous demandez est celui {whose}. Rien n'est enregistré. "
            "Vérifiez-le auprès de votre comptable ; s'il est bien le vôtre, l'exploitant de la plateforme tranche.",
        )


def collectivite_routes(identities: Identities, *, caller: WhoDependency) -> APIRouter:
    """Return the routes that show and change who a collectivité is."""
    router = APIRouter(prefix="/v1/collectivites", tags=["collectivités"])

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

    @router.put("/{siren}/channel", summary="Choisir le canal d'envoi (exploitant)")
    async def choose_channel(
        siren: SirenInPath, asked: ChannelChoice, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await identities.choose_channel(siren, asked, who)

    return router


def _answer(collectivite: Collectivite, siren: str, recorded: Sequence[Fact]) -> dict[str, object]:
    return {
        "siren": siren,
        "channel": collectivite.channel,
        "identifiers": _WRITTEN.dump_python(sorted(collectivite.identifiers, key=str)),
        "recorded": [fact.model_dump(mode="json") for fact in recorded],
    }

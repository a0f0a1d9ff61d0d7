"""Who the collectivités are, as those who run them decide: what DGFiP knows them by, which way their flux take."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from services.validation import identity
from services.validation.decide import blocking
from services.validation.handler import refused_flux
from services.validation.ports import Collectivites
from services.validation.requests import ChannelChoice, Registration, Withdrawal
from shared.errors import NameTakenError, RequestRefusedError, VersionConflictError, Why
from shared.facts.collectivite import Identifier
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.flux import IdentifiersCompleted
from shared.facts.lifecycles.collectivite import Collectivite, fold
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.streams import EVERY_COLLECTIVITE, collectivite_stream
from shared.journal.decisions import decide_in
from shared.journal.history import History
from shared.web.auth import Caller, Right
from shared.web.deciding import decide_on, load_flux
from shared.web.problems import flux_not_found

logger = logging.getLogger(__name__)

_WRITTEN: TypeAdapter[Sequence[Identifier]] = TypeAdapter(Sequence[Identifier])


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
                f"Rien n’est enregistré pour la collectivité {siren}. Elle s’ouvre avec le premier identifiant "
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
        refused = await refused_flux(siren, self.history)
        collectivite, recorded = await self._decide(
            siren, lambda now: identity.register(now, siren, wanted, asked.reason), who
        )
        answer = _answer(collectivite, siren, recorded)
        if asked.flux_id is not None:
            was_refused = asked.flux_id in refused
            answer["flux"] = await self._judge_anew(
                asked.flux_id, collectivite, asked.reason, who, was_refused=was_refused
            )
        others = [one for one in refused if one != asked.flux_id]
        anew = [one for one in others if await self._is_judged_anew(one, collectivite, asked.reason, who)]
        return answer | {"others_judged_anew": [str(one) for one in anew]}

    async def withdraw(self, siren: str, asked: Withdrawal, who: Caller) -> dict[str, object]:
        """Withdraw identifiers: the next flux that names one is refused."""
        who.require(Right.ADMINISTER, siren, "retirer un identifiant")
        done = await self._decide(siren, lambda now: identity.withdraw(now, asked.identifiers, asked.reason), who)
        return _answer(done[0], siren, done[1])

    async def choose_channel(self, siren: str, asked: ChannelChoice, who: Caller) -> dict[str, object]:
        """Have the flux of a collectivité leave by a channel: the operator knows which there are."""
        who.require(Right.OPERATE, siren, "choisir le canal d’envoi")
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
            f"Le flux est dans l’état « {known.flux.on_screen} », et son SIRET, son poste, son CodCol et son CodBud "
            "n’ont pas pu être lus. Attendez la fin de son contrôle, ou corrigez d’abord ses autres anomalies.",
        )

    async def _is_judged_anew(self, flux_id: UUID, collectivite: Collectivite, reason: str, who: Caller) -> bool:
        try:
            told = await self._judge_anew(flux_id, collectivite, reason, who, was_refused=True)
            return bool(told["is_judged_anew"])
        except (
            RequestRefusedError,
            VersionConflictError,
        ) as error:  # the others go on
            logger.warning("identifiers.not_judged_anew", extra={"flux_id": str(flux_id), "reason": str(error)})
            return False

    async def _judge_anew(
        self, flux_id: UUID, collectivite: Collectivite, reason: str, who: Caller, *, was_refused: bool
    ) -> dict[str, object]:
        """Have a flux judged anew, unless `on_registered` was faster; tell what became of it."""

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
            "is_judged_anew": bool(decided.recorded) or (was_refused and _is_beyond(decided.flux)),
        }

    async def _decide(
        self, siren: str, decide: Callable[[Collectivite], Sequence[Fact]], who: Caller
    ) -> tuple[Collectivite, Sequence[Fact]]:
        """Record what is decided of a collectivité as it is; return it as it is then, and what was recorded."""

        async def decide_it(past: Sequence[Fact]) -> Sequence[Fact]:
            return decide(fold(past))

        try:
            decided = await decide_in(
                collectivite_stream(siren),
                decide_it,
                collectivite=siren,
                actor=who.subject,
                history=self.history,
                now=self.now,
            )
        except NameTakenError as taken:
            raise await self._taken(taken, who) from taken
        return fold(event.data for event in decided.events), [event.data for event in decided.recorded]

    async def _taken(self, taken: NameTakenError, who: Caller) -> RequestRefusedError:
        """Return the refusal of what another collectivité has: only the operator is told which."""
        whose = "d’une autre collectivité"
        if who.may(Right.OPERATE, EVERY_COLLECTIVITE):
            (holder,) = await self.history.recorded(taken.stream_id, limit=1)
            whose = f"de la collectivité {holder.collectivite}"
        return RequestRefusedError(
            Why.AS_THINGS_STAND,
            "identifier-taken",
            "Budget déjà enregistré",
            f"Un budget (poste, CodCol, CodBud) que vous demandez est celui {whose}. Rien n’est enregistré. "
            "Vérifiez-le auprès de votre comptable ; s’il est bien le vôtre, votre hébergeur tranche.",
        )


def _is_beyond(flux: Flux) -> bool:
    """Say whether a flux has left its refusal for having its identifiers registered."""
    return IdentifiersCompleted in flux.past and flux.state not in {State.INVALID, State.CANCELLED}


def _answer(collectivite: Collectivite, siren: str, recorded: Sequence[Fact]) -> dict[str, object]:
    return {
        "siren": siren,
        "channel": collectivite.channel,
        "identifiers": _WRITTEN.dump_python(sorted(collectivite.identifiers, key=str)),
        "recorded": [fact.model_dump(mode="json") for fact in recorded],
    }

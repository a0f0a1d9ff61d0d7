"""What is decided of a collectivité's signatures: mandates, circuits, delegations, the seal."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from services.signature.circuits import Circuit, Delegation, fault_of
from services.signature.granting import Asked, adopt, decide, id_taken
from services.signature.mandates import Mandate
from services.signature.ports import Registries
from services.signature.requests import CircuitChange, NewDelegation, NewEnd, NewMandate, SealChange
from shared.errors import NameTakenError, NewerFactError, RequestRefusedError, Why
from shared.facts.collectivite import CircuitSet, DelegationEnded, MandateEnded, SealChosen, StepSet
from shared.facts.fact import Fact
from shared.facts.streams import EVERY_COLLECTIVITE, decisions_stream
from shared.facts.values import REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN
from shared.journal.decisions import Decided, decide_in, last_word
from shared.journal.history import History
from shared.web.auth import Caller, Right

logger = logging.getLogger(__name__)

ACTOR: Final = "signature"  # who adopts a setting
_ADOPTED: Final = "Repris du réglage SEAL_COLLECTIVITES de l’hébergeur"

Item = dict[str, object]
Entry = TypeVar("Entry", Mandate, Delegation)


@dataclass(frozen=True)
class Administration:
    """Records what is decided about signatures, for those who may; shows it.

    Attributes:
        registries: what follows from what was recorded.
        now: aware.
        has_key: this host has a seal to sign with.
    """

    history: History
    registries: Registries
    now: Callable[[], datetime]
    has_key: bool

    async def mandates(self, collectivite: str) -> Item:
        """Return the mandates of a collectivité, and which are in force."""
        listed = await self.registries.mandates(collectivite)
        return {"collectivite": collectivite, "mandates": [self._shown(one) for one in listed]}

    async def record_mandate(self, new: NewMandate, who: Caller) -> Item:
        """Record a mandate, once.

        Raises:
            RequestRefusedError: outside the perimeter or for oneself; or its id is taken; or it
                cannot be.
        """
        who.require(Right.ADMINISTER, new.collectivite, "enregistrer un mandat")
        is_operator = who.may(Right.OPERATE, new.collectivite)
        if new.person == who.subject and not is_operator:
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "own-mandate",
                "Mandat pour soi-même",
                "Personne n’enregistre son propre mandat : demandez-le à un autre administrateur de la collectivité, "
                "ou à votre hébergeur.",
            )
        if is_operator and new.reason is None:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "reason-required",
                "Motif nécessaire",
                "Vous enregistrez un mandat à la place de la collectivité : dites pourquoi (reason, "
                f"{REASON_CHARACTERS_MIN} à {REASON_CHARACTERS_MAX} caractères).",
            )
        granted = new.granted()
        await self._record(new.collectivite, granted, who.subject)
        return self._shown(_visible(await self.registries.mandate(granted.mandate_id), who, granted.mandate_id))

    async def end_mandate(self, mandate_id: UUID, end: NewEnd, who: Caller) -> Item:
        """End a mandate early. What was signed before stays signed.

        Raises:
            RequestRefusedError: the caller does not see it, or it ends before that anyway.
        """
        mandate = _visible(await self.registries.mandate(mandate_id), who, mandate_id)
        who.require(Right.ADMINISTER, mandate.collectivite, "mettre fin à un mandat")
        ended = MandateEnded(mandate_id=mandate_id, ended_at=end.ended_at(self.now()), reason=end.reason)
        await self._record(mandate.collectivite, ended, who.subject)
        return self._shown(_visible(await self.registries.mandate(mandate_id), who, mandate_id))

    async def circuits(self, collectivite: str) -> Item:
        """Return the circuits that apply to a collectivité, and every change that led there."""
        return {
            "collectivite": collectivite,
            "circuits": [asdict(one) for one in await self.registries.circuits(collectivite)],
            "changes": [asdict(one) for one in await self.registries.circuit_changes(collectivite)],
        }

    async def set_circuit(self, collectivite: str, change: CircuitChange, who: Caller) -> Item:
        """Set the circuit of a collectivité for a kind of flux. A flux that is under way keeps its own.

        Raises:
            RequestRefusedError: these steps make no circuit, or the caller has not the right.
        """
        require_setting(who, collectivite, "changer un circuit")
        steps = tuple(wanted.step() for wanted in change.steps)
        choice = await self.registries.seal_choice(collectivite)
        fault = fault_of(steps, has_seal=choice is not None and choice.has_seal) if steps else ""
        if fault:
            raise RequestRefusedError(
                Why.UNUSABLE, "circuit-invalid", "Circuit impossible", f"{fault} Rien n’est changé."
            )
        wanted = tuple(StepSet(**asdict(step)) for step in steps)
        asked = CircuitSet(flux_kind=change.flux_kind, steps=wanted, reason=change.reason)
        decided = await self._record(collectivite, asked, who.subject)
        said, fact = last_word(decided.events, CircuitSet, lambda one: one.flux_kind == change.flux_kind)
        return asdict(Circuit(collectivite, fact.flux_kind, steps, fact.reason, said.actor, said.occurred_at))

    async def delegations(self, collectivite: str) -> Item:
        """Return the delegations of a collectivité, and which are in force."""
        listed = await self.registries.delegations(collectivite)
        return {"collectivite": collectivite, "delegations": [self._shown(one) for one in listed]}

    async def record_delegation(self, new: NewDelegation, who: Caller) -> Item:
        """Record a delegation, once.

        Raises:
            RequestRefusedError: outside the perimeter or in place of another; or its id is taken; or
                it cannot be.
        """
        who.require(Right.DELEGATE, new.collectivite, "enregistrer une délégation")
        _require_own(who, new.absent, new.collectivite)
        if new.absent == new.substitute:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "delegation-to-oneself",
                "Suppléant identique",
                "La personne absente et son suppléant sont la même personne : désignez quelqu’un d’autre.",
            )
        if who.subject == new.substitute:
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "own-delegation",
                "Délégation à soi-même",
                "Personne ne se donne les étapes d’un autre : la personne absente, ou un autre administrateur, "
                "vous les délègue.",
            )
        given = new.given()
        await self._record(new.collectivite, given, who.subject)
        known = await self.registries.delegation(given.delegation_id)
        return self._shown(_visible(known, who, given.delegation_id))

    async def end_delegation(self, delegation_id: UUID, end: NewEnd, who: Caller) -> Item:
        """End a delegation early.

        Raises:
            RequestRefusedError: the caller does not see it, it is another's, or it ends before
                that anyway.
        """
        delegation = _visible(await self.registries.delegation(delegation_id), who, delegation_id)
        who.require(Right.DELEGATE, delegation.collectivite, "mettre fin à une délégation")
        _require_own(who, delegation.absent, delegation.collectivite)
        ended = DelegationEnded(delegation_id=delegation_id, ended_at=end.ended_at(self.now()), reason=end.reason)
        await self._record(delegation.collectivite, ended, who.subject)
        return self._shown(_visible(await self.registries.delegation(delegation_id), who, delegation_id))

    async def seal(self, collectivite: str) -> Item:
        """Return whether the seal signs for a collectivité, by which choice, and whether there is one here."""
        choice = await self.registries.seal_choice(collectivite)
        return {
            "collectivite": collectivite,
            "has_seal": choice is not None and choice.has_seal,
            "is_available": self.has_key,
            "choice": choice and asdict(choice),
        }

    async def choose_seal(self, collectivite: str, change: SealChange, who: Caller) -> Item:
        """Have the seal sign for a collectivité from now on, or no more. What waits already stays as it waits.

        Raises:
            RequestRefusedError: there is no seal to choose, or the caller has not the right.
        """
        require_setting(who, collectivite, "choisir le cachet")
        if change.has_seal and not self.has_key:
            raise RequestRefusedError(
                Why.AS_THINGS_STAND,
                "no-seal",
                "Aucun cachet",
                "L’hébergeur n’a pas installé de cachet : demandez-le-lui, puis choisissez-le. Rien n’est changé.",
            )
        await self._record(collectivite, change.said(), who.subject)
        return await self.seal(collectivite)

    async def adopt_seal(self, collectivites: frozenset[str]) -> None:
        """Record what a setting said of the seal before facts did, for those that never said anything of it."""
        for collectivite in sorted(collectivites):
            try:
                await self._record(collectivite, SealChosen(reason=_ADOPTED), ACTOR, adopt)
            except NewerFactError:  # a newer version works there, and has read the setting before us
                logger.warning("seal.not_adopted", extra={"collectivite": collectivite})

    async def _record(
        self,
        collectivite: str,
        asked: Asked,
        actor: str,
        decision: Callable[[Sequence[Fact], str, Asked], list[Fact]] = decide,
    ) -> Decided:
        async def decided(past: Sequence[Fact]) -> list[Fact]:
            return decision(past, collectivite, asked)

        try:
            return await decide_in(
                decisions_stream(collectivite),
                decided,
                collectivite=collectivite,
                actor=actor,
                history=self.history,
                now=self.now,
            )
        except NameTakenError as taken:  # by another collectivité: here it would have been found
            raise id_taken() from taken

    def _shown(self, entry: Mandate | Delegation) -> Item:
        return {**asdict(entry), "ends_at": entry.last, "is_in_force": entry.holds(self.now())}


def _visible(entry: Entry | None, who: Caller, sought: UUID) -> Entry:
    """Return an entry of a registry; what does not exist and what the caller may not see are refused alike."""
    if entry is None or not who.may(Right.READ, entry.collectivite):
        raise RequestRefusedError(
            Why.NOT_FOUND,
            "registry-entry-not-found",
            "Introuvable",
            f"Rien sous l’identifiant {sought} n’est visible avec votre compte. Vérifiez cet identifiant et votre "
            "collectivité.",
        )
    return entry


def _require_own(who: Caller, absent: str, collectivite: str) -> None:
    """Return when the caller is the absent person, or administers the collectivité."""
    if not who.may(Right.ADMINISTER, collectivite) and who.subject != absent:
        raise RequestRefusedError(
            Why.NOT_ALLOWED,
            "not-your-delegation",
            "Délégation d’une autre personne",
            "Vous pouvez déléguer vos propres étapes, pas celles d’une autre personne : demandez-le-lui, ou à "
            "l’administrateur de la collectivité.",
        )


def require_setting(who: Caller, collectivite: str, action: str) -> None:
    """Refuse who may not set things for a collectivité; what is set for all (`*`), only an operator sets."""
    if collectivite == EVERY_COLLECTIVITE:
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, f"{action} pour toutes les collectivités")
    else:
        who.require(Right.ADMINISTER, collectivite, action)

"""The registries of `signature` in memory: what follows from the facts of a journal in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.signature.circuits import Circuit, Delegation, SealChoice, Step, applying
from services.signature.mandates import Mandate, NamedCertificate
from shared.facts import collectivite as facts
from shared.facts.envelope import Event
from shared.facts.streams import EVERY_COLLECTIVITE
from tests.fakes.memory_history import MemoryHistory


@dataclass
class MemoryRegistries:
    """Same promises as `services.signature.adapters.registries.PostgresRegistries`."""

    history: MemoryHistory = field(default_factory=MemoryHistory)

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """See `Registries.mandates`."""
        own = [one for one in self._mandates().values() if one.collectivite == collectivite]
        return sorted(own, key=lambda one: (one.recorded_at, one.mandate_id))

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """See `Registries.mandate`."""
        return self._mandates().get(mandate_id)

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """See `Registries.certificates`."""
        named = [
            NamedCertificate(one.collectivite, one.name, one.certificate_sha256, one.certificate_until)
            for one in self._mandates().values()
            if one.certificate_until is not None and (one.last is None or at < one.last)
        ]
        return sorted(named, key=lambda one: one.certificate_until)

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuits`."""
        last_set = {(one.collectivite, one.flux_kind): one for one in self._circuits()}
        return applying(collectivite, last_set.values())

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuit_changes`."""
        concerned = (collectivite, EVERY_COLLECTIVITE)
        return [one for one in self._circuits() if one.collectivite in concerned][::-1][:1000]

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """See `Registries.delegations`."""
        own = [one for one in self._delegations().values() if one.collectivite == collectivite]
        return sorted(own, key=lambda one: (one.recorded_at, one.delegation_id))

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """See `Registries.delegation`."""
        return self._delegations().get(delegation_id)

    async def seal_choice(self, collectivite: str) -> SealChoice | None:
        """See `Registries.seal_choice`."""
        said = {
            event.collectivite: SealChoice(
                event.collectivite, isinstance(fact, facts.SealChosen), fact.reason, event.actor, event.occurred_at
            )
            for event in self.history.log
            if isinstance(fact := event.data, facts.SealChosen | facts.SealLeft)
        }
        return said.get(collectivite) or said.get(EVERY_COLLECTIVITE)

    def _mandates(self) -> dict[UUID, Mandate]:
        known: dict[UUID, Mandate] = {}
        for event in self.history.log:
            match event.data:
                case facts.MandateGranted() as fact:
                    known[fact.mandate_id] = Mandate(**_recorded(event))
                case facts.MandateEnded() as end:
                    ended = known[end.mandate_id]
                    if ended.ended_at is None or end.ended_at < ended.ended_at:
                        known[end.mandate_id] = replace(ended, ended_at=end.ended_at, ended_because=end.reason)
        return known

    def _delegations(self) -> dict[UUID, Delegation]:
        known: dict[UUID, Delegation] = {}
        for event in self.history.log:
            match event.data:
                case facts.DelegationGiven() as fact:
                    known[fact.delegation_id] = Delegation(**_recorded(event))
                case facts.DelegationEnded() as end:
                    ended = known[end.delegation_id]
                    first = min(end.ended_at, ended.ended_at or end.ended_at)
                    known[end.delegation_id] = replace(ended, ended_at=first)
        return known

    def _circuits(self) -> Iterator[Circuit]:
        for event in self.history.log:
            if isinstance(fact := event.data, facts.CircuitSet):
                steps = tuple(Step(**step.model_dump()) for step in fact.steps)
                yield Circuit(event.collectivite, fact.flux_kind, steps, fact.reason, event.actor, event.occurred_at)


def _recorded(event: Event) -> dict[str, Any]:
    """Return the members of what an event adds to a registry."""
    members = event.data.model_dump(exclude={"kind"})
    return members | {
        "collectivite": event.collectivite,
        "recorded_by": event.actor,
        "recorded_at": event.occurred_at,
    }

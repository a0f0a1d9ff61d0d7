"""The registries of `signature` in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from services.signature.circuits import Circuit, Delegation
from services.signature.mandates import Mandate
from services.signature.registries import EVERYONE, NamedCertificate, applying


@dataclass
class MemoryRegistries:
    """Same promises as `services.signature.adapters.registries.PostgresRegistries`."""

    recorded_mandates: dict[UUID, Mandate] = field(default_factory=dict)
    recorded_delegations: dict[UUID, Delegation] = field(default_factory=dict)
    circuits_set: list[Circuit] = field(default_factory=list)
    certificate_pems: dict[UUID, str] = field(default_factory=dict)
    reasons: dict[UUID, str] = field(default_factory=dict)

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """See `Registries.mandates`."""
        own = [one for one in self.recorded_mandates.values() if one.collectivite == collectivite]
        return sorted(own, key=lambda one: (_instant(one.recorded_at), one.mandate_id))

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """See `Registries.mandate`."""
        return self.recorded_mandates.get(mandate_id)

    async def record_mandate(self, mandate: Mandate, certificate_pem: str, reason: str = "") -> bool:
        """See `Registries.record_mandate`."""
        if mandate.mandate_id in self.recorded_mandates:
            return False
        self.recorded_mandates[mandate.mandate_id] = mandate
        self.certificate_pems[mandate.mandate_id] = certificate_pem
        if reason:
            self.reasons[mandate.mandate_id] = reason
        return True

    async def end_mandate(self, mandate_id: UUID, at: datetime, reason: str, by: str) -> bool:  # noqa: ARG002
        """See `Registries.end_mandate`."""
        known = self.recorded_mandates.get(mandate_id)
        if known is None:
            return False
        if known.ended_at is None or at < known.ended_at:
            self.recorded_mandates[mandate_id] = replace(known, ended_at=at, ended_because=reason)
        return True

    async def mandate_reasons(self, collectivite: str) -> Mapping[UUID, str]:
        """See `Registries.mandate_reasons`."""
        own = {one.mandate_id for one in await self.mandates(collectivite)}
        return {mandate_id: reason for mandate_id, reason in self.reasons.items() if mandate_id in own}

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """See `Registries.certificates`."""
        named = [
            NamedCertificate(one.collectivite, one.name, one.certificate_sha256, one.certificate_until)
            for one in self.recorded_mandates.values()
            if one.certificate_until is not None and (one.last is None or at < one.last)
        ]
        return sorted(named, key=lambda one: one.certificate_until)

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuits`."""
        last_set = {(one.collectivite, one.flux_kind): one for one in self.circuits_set}
        return applying(collectivite, last_set.values())

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuit_changes`."""
        return [one for one in reversed(self.circuits_set) if one.collectivite in (collectivite, EVERYONE)][:1000]

    async def set_circuit(self, circuit: Circuit) -> None:
        """See `Registries.set_circuit`."""
        self.circuits_set.append(circuit)

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """See `Registries.delegations`."""
        own = [one for one in self.recorded_delegations.values() if one.collectivite == collectivite]
        return sorted(own, key=lambda one: (_instant(one.recorded_at), one.delegation_id))

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """See `Registries.delegation`."""
        return self.recorded_delegations.get(delegation_id)

    async def record_delegation(self, delegation: Delegation) -> bool:
        """See `Registries.record_delegation`."""
        if delegation.delegation_id in self.recorded_delegations:
            return False
        self.recorded_delegations[delegation.delegation_id] = delegation
        return True

    async def end_delegation(self, delegation_id: UUID, at: datetime, reason: str, by: str) -> bool:  # noqa: ARG002
        """See `Registries.end_delegation`."""
        known = self.recorded_delegations.get(delegation_id)
        if known is None:
            return False
        if known.ended_at is None or at < known.ended_at:
            self.recorded_delegations[delegation_id] = replace(known, ended_at=at)
        return True


def _instant(recorded_at: datetime | None) -> datetime:
    return recorded_at or datetime.min.replace(tzinfo=UTC)

"""The registries, in PostgreSQL: rows are added, never changed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import asyncpg

from services.signature.circuits import Circuit, Delegation, Step
from services.signature.mandates import Mandate
from services.signature.registries import NamedCertificate, applying
from shared.journal.postgres import Database

# Mandates with their earliest end: those of a collectivité, or the one of an id (the other is null).
_MANDATES = """
select mandate.mandate_id, collectivite, person, name, act, valid_from, valid_until, certificate_sha256,
    certificate_until, mandate.recorded_by, mandate.recorded_at, earliest.ended_at,
    coalesce(earliest.reason, '') as ended_because
from mandate left join lateral (
    select ended_at, reason from mandate_end where mandate_end.mandate_id = mandate.mandate_id
    order by ended_at, position limit 1
) as earliest on true
where collectivite = $1 or mandate.mandate_id = $2
order by mandate.recorded_at, mandate.mandate_id
"""
_RECORD_MANDATE = """
insert into mandate (mandate_id, collectivite, person, name, act, valid_from, valid_until, certificate_sha256,
    certificate_until, certificate_pem, reason, recorded_by, recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
on conflict (mandate_id) do nothing returning mandate_id
"""
_END_MANDATE = """
insert into mandate_end (mandate_id, ended_at, reason, recorded_by)
select mandate_id, $2, $3, $4 from mandate where mandate_id = $1 returning mandate_id
"""
_MANDATE_REASONS = "select mandate_id, reason from mandate where collectivite = $1 and reason <> ''"
# Certificates named by mandates that have not ended, foreseen or early.
_CERTIFICATES = """
select collectivite, name, certificate_sha256, certificate_until from mandate
where certificate_sha256 <> '' and (valid_until is null or valid_until > $1) and not exists (
    select from mandate_end where mandate_end.mandate_id = mandate.mandate_id and ended_at <= $1
)
order by certificate_until, recorded_at, mandate_id
"""

# The last circuit set for each kind of flux, for a collectivité and for all.
_LAST_SET = """
select distinct on (collectivite, flux_kind) collectivite, flux_kind, steps, reason, changed_by, changed_at
from circuit where collectivite in ($1, '*')
order by collectivite, flux_kind, position desc
"""
_CIRCUIT_CHANGES = """
select collectivite, flux_kind, steps, reason, changed_by, changed_at from circuit
where collectivite in ($1, '*') order by position desc limit 1000
"""
_SET_CIRCUIT = """
insert into circuit (collectivite, flux_kind, steps, reason, changed_by, changed_at)
values ($1, $2, $3, $4, $5, $6)
"""

# As `_MANDATES`, for delegations.
_DELEGATIONS = """
select delegation.delegation_id, collectivite, absent, substitute, valid_from, valid_until, reason, recorded_by,
    recorded_at, (
        select min(ended_at) from delegation_end where delegation_end.delegation_id = delegation.delegation_id
    ) as ended_at
from delegation
where collectivite = $1 or delegation.delegation_id = $2
order by recorded_at, delegation.delegation_id
"""
_RECORD_DELEGATION = """
insert into delegation (delegation_id, collectivite, absent, substitute, valid_from, valid_until, reason, recorded_by,
    recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (delegation_id) do nothing returning delegation_id
"""
_END_DELEGATION = """
insert into delegation_end (delegation_id, ended_at, reason, recorded_by)
select delegation_id, $2, $3, $4 from delegation where delegation_id = $1 returning delegation_id
"""


class PostgresRegistries:
    """See `services.signature.registries.Registries`."""

    def __init__(self, database: Database) -> None:
        """Keep the registries in this database."""
        self._database = database

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """See `Registries.mandates`."""
        return [Mandate(**dict(row)) for row in await self._database.fetch(_MANDATES, collectivite, None)]

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """See `Registries.mandate`."""
        rows = await self._database.fetch(_MANDATES, None, mandate_id)
        return next((Mandate(**dict(row)) for row in rows), None)

    async def record_mandate(self, mandate: Mandate, certificate_pem: str, reason: str = "") -> bool:
        """See `Registries.record_mandate`."""
        rows = await self._database.fetch(
            _RECORD_MANDATE,
            mandate.mandate_id,
            mandate.collectivite,
            mandate.person,
            mandate.name,
            mandate.act,
            mandate.valid_from,
            mandate.valid_until,
            mandate.certificate_sha256,
            mandate.certificate_until,
            certificate_pem,
            reason,
            mandate.recorded_by,
            mandate.recorded_at,
        )
        return bool(rows)

    async def end_mandate(self, mandate_id: UUID, at: datetime, reason: str, by: str) -> bool:
        """See `Registries.end_mandate`."""
        return bool(await self._database.fetch(_END_MANDATE, mandate_id, at, reason, by))

    async def mandate_reasons(self, collectivite: str) -> Mapping[UUID, str]:
        """See `Registries.mandate_reasons`."""
        rows = await self._database.fetch(_MANDATE_REASONS, collectivite)
        return {row["mandate_id"]: row["reason"] for row in rows}

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """See `Registries.certificates`."""
        return [NamedCertificate(**dict(row)) for row in await self._database.fetch(_CERTIFICATES, at)]

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuits`."""
        rows = await self._database.fetch(_LAST_SET, collectivite)
        return applying(collectivite, map(_circuit, rows))

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuit_changes`."""
        return [_circuit(row) for row in await self._database.fetch(_CIRCUIT_CHANGES, collectivite)]

    async def set_circuit(self, circuit: Circuit) -> None:
        """See `Registries.set_circuit`."""
        await self._database.execute(
            _SET_CIRCUIT,
            circuit.collectivite,
            circuit.flux_kind,
            json.dumps([asdict(step) for step in circuit.steps]),
            circuit.reason,
            circuit.changed_by,
            circuit.changed_at,
        )

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """See `Registries.delegations`."""
        return [Delegation(**dict(row)) for row in await self._database.fetch(_DELEGATIONS, collectivite, None)]

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """See `Registries.delegation`."""
        rows = await self._database.fetch(_DELEGATIONS, None, delegation_id)
        return next((Delegation(**dict(row)) for row in rows), None)

    async def record_delegation(self, delegation: Delegation) -> bool:
        """See `Registries.record_delegation`."""
        rows = await self._database.fetch(
            _RECORD_DELEGATION,
            delegation.delegation_id,
            delegation.collectivite,
            delegation.absent,
            delegation.substitute,
            delegation.valid_from,
            delegation.valid_until,
            delegation.reason,
            delegation.recorded_by,
            delegation.recorded_at,
        )
        return bool(rows)

    async def end_delegation(self, delegation_id: UUID, at: datetime, reason: str, by: str) -> bool:
        """See `Registries.end_delegation`."""
        return bool(await self._database.fetch(_END_DELEGATION, delegation_id, at, reason, by))


def _circuit(row: asyncpg.Record) -> Circuit:
    members = dict(row)
    steps = tuple(Step(**{**step, "any_of": tuple(step["any_of"])}) for step in json.loads(members.pop("steps")))
    return Circuit(**members, steps=steps)

"""The registries, in PostgreSQL: tables that follow from facts (`sql/009_registries_are_projections.sql`)."""

import json
from datetime import datetime
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from services.signature.circuits import Circuit, Delegation, SealChoice, Step, applying
from services.signature.mandates import Mandate, NamedCertificate
from shared.errors import NewerFactError
from shared.facts.collectivite import CircuitSet, StepSet
from shared.facts.fact import kind_of
from shared.journal.postgres import Database

# Mandates with their earliest end: those of a collectivité, or the one of an id (the other is null).
_MANDATES = """
select mandate.mandate_id, collectivite, person, name, act, valid_from, valid_until, certificate_sha256,
    certificate_until, mandate.reason, mandate.recorded_by, mandate.recorded_at, earliest.ended_at,
    coalesce(earliest.reason, '') as ended_because
from mandate left join lateral (
    select ended_at, reason from mandate_end where mandate_end.mandate_id = mandate.mandate_id
    order by ended_at, position limit 1
) as earliest on true
where collectivite = $1 or mandate.mandate_id = $2
order by mandate.recorded_at, mandate.mandate_id
"""
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

# What a collectivité said of the seal comes before what was said for all.
_SEAL_CHOICE = """
select collectivite, has_seal, reason, changed_by, changed_at from seal_choice where collectivite in ($1, '*')
order by collectivite = '*' limit 1
"""


class PostgresRegistries:
    """See `services.signature.ports.Registries`."""

    def __init__(self, database: Database) -> None:
        """Read the registries in this database."""
        self._database = database

    async def mandates(self, collectivite: str) -> list[Mandate]:
        """See `Registries.mandates`."""
        return [Mandate(**row) for row in await self._database.fetch(_MANDATES, collectivite, None)]

    async def mandate(self, mandate_id: UUID) -> Mandate | None:
        """See `Registries.mandate`."""
        rows = await self._database.fetch(_MANDATES, None, mandate_id)
        return Mandate(**rows[0]) if rows else None

    async def certificates(self, at: datetime) -> list[NamedCertificate]:
        """See `Registries.certificates`."""
        return [NamedCertificate(**row) for row in await self._database.fetch(_CERTIFICATES, at)]

    async def circuits(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuits`."""
        return applying(collectivite, map(_circuit, await self._database.fetch(_LAST_SET, collectivite)))

    async def circuit_changes(self, collectivite: str) -> list[Circuit]:
        """See `Registries.circuit_changes`."""
        return [_circuit(row) for row in await self._database.fetch(_CIRCUIT_CHANGES, collectivite)]

    async def delegations(self, collectivite: str) -> list[Delegation]:
        """See `Registries.delegations`."""
        return [Delegation(**row) for row in await self._database.fetch(_DELEGATIONS, collectivite, None)]

    async def delegation(self, delegation_id: UUID) -> Delegation | None:
        """See `Registries.delegation`."""
        rows = await self._database.fetch(_DELEGATIONS, None, delegation_id)
        return Delegation(**rows[0]) if rows else None

    async def seal_choice(self, collectivite: str) -> SealChoice | None:
        """See `Registries.seal_choice`."""
        rows = await self._database.fetch(_SEAL_CHOICE, collectivite)
        return SealChoice(**rows[0]) if rows else None


def _circuit(row: asyncpg.Record) -> Circuit:
    """Return a circuit; one that a newer version set sets aside what asks for it, and nothing else."""
    members = dict(row)
    try:
        steps = tuple(Step(**dict(StepSet.model_validate(step))) for step in json.loads(members.pop("steps")))
    except ValidationError as error:
        raise NewerFactError(kind_of(CircuitSet), "a step of a circuit is of no kind that is known") from error
    return Circuit(**members, steps=steps)

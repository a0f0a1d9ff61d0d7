"""How serious each control is for each collectivité, from the projection: every change, the last of which counts."""

from collections.abc import Mapping, Sequence
from typing import get_args

from pes.vocabulary import Severity
from services.validation.ports import PolicyChange
from shared.errors import NewerFactError
from shared.facts.collectivite import PolicySet
from shared.facts.fact import kind_of
from shared.journal.postgres import Database

# The last word on each; what was said of a collectivité itself, unless taken back, comes before what was said of all.
_OF = """
with last_word as (
    select distinct on (collectivite, code) collectivite, code, severity from control_policy
    where collectivite in ($1, '*')
    order by collectivite, code, position desc
)
select distinct on (code) code, severity from last_word
where severity is not null
order by code, collectivite = '*'
"""
_CHANGES = """
select collectivite, code, severity, reason, changed_by, changed_at from control_policy
where collectivite in ($1, '*') order by position desc limit 1000
"""


class PostgresPolicies:
    """See `services.validation.ports.Policies`."""

    def __init__(self, database: Database) -> None:
        """Read changes in this database."""
        self._database = database

    async def of(self, collectivite: str) -> Mapping[str, Severity]:
        """See `Policies.of`."""
        rows = await self._database.fetch(_OF, collectivite)
        if unknown := {row["severity"] for row in rows} - set(get_args(Severity)):
            raise NewerFactError(kind_of(PolicySet), f"nobody here knows how serious {unknown.pop()!r} is")
        return {row["code"]: row["severity"] for row in rows}

    async def changes(self, collectivite: str) -> Sequence[PolicyChange]:
        """See `Policies.changes`."""
        return [PolicyChange(**dict(row)) for row in await self._database.fetch(_CHANGES, collectivite)]

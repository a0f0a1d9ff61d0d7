"""Who the collectivités are, in PostgreSQL: tables that follow from the facts of their streams."""

from collections.abc import Sequence
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from pes.vocabulary import Header
from services.validation.identity import named_by
from services.validation.ports import KnownCollectivite, Registered, Seen
from shared.facts.collectivite import Identifier
from shared.journal.postgres import Database

_ALL = "select siren, name, state, channel, opened_at from collectivite order by siren"
_REGISTERED = """
select identifier, registered_at, registered_by, reason from identifier
where siren = $1 order by registered_at, identifier
"""
# What the flux that DGFiP took in, whole or in part, said of themselves.
_SEEN = """
with header as (
    select (validated.body::jsonb) #> '{data,header}' as value, validated.recorded_at
    from journal validated
    where validated.kind = 'flux.validated.v1' and validated.collectivite = $1 and exists (
        select from journal ended
        where ended.stream_id = validated.stream_id
          and ended.kind in ('flux.acknowledged.v1', 'flux.partially-rejected.v1')
    )
)
select value ->> 'id_coll' as id_coll, value ->> 'id_post' as id_post, value ->> 'cod_col' as cod_col,
       value ->> 'cod_bud' as cod_bud, count(*) as flux, max(recorded_at) as last_at
from header group by 1, 2, 3, 4 order by last_at desc limit 1000
"""
_READ: TypeAdapter[Identifier] = TypeAdapter(Identifier)


class PostgresCollectivites:
    """See `services.validation.ports.Collectivites`."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def all(self) -> Sequence[KnownCollectivite]:
        """See `Collectivites.all`."""
        return [KnownCollectivite(**dict(row)) for row in await self._database.fetch(_ALL)]

    async def identifiers(self, siren: str) -> frozenset[Identifier]:
        """See `Collectivites.identifiers`."""
        return frozenset(one.identifier for one in await self.registered(siren))

    async def registered(self, siren: str) -> Sequence[Registered]:
        """See `Collectivites.registered`."""
        registered = []
        for row in await self._database.fetch(_REGISTERED, siren):
            with suppress(ValidationError):  # of a type that only a newer version knows: here nothing is known by it
                registered.append(Registered(**{**row, "identifier": _READ.validate_json(row["identifier"])}))
        return registered

    async def seen(self, siren: str) -> Sequence[Seen]:
        """See `Collectivites.seen`; a SIRET of another SIREN, which older versions let pass, is left out."""
        seen: dict[Identifier, Seen] = {}
        for row in await self._database.fetch(_SEEN, siren):
            header = Header(nomfic="", typfic="", **{name: row[name] for name in _NAMED})
            try:
                named = named_by(header)
            except ValidationError:
                continue  # older versions let pass an IdColl that is no SIRET, and that nobody could register
            if not header.id_coll.startswith(siren):
                continue
            for one in named:
                before = seen.get(one, Seen(one, 0, row["last_at"]))
                seen[one] = Seen(one, before.flux + row["flux"], max(before.last_at, row["last_at"]))
        return list(seen.values())


_NAMED = ("id_coll", "id_post", "cod_col", "cod_bud")

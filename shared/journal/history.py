"""The journal as services use it: load the facts of a stream, append facts decided on a version.

The append is the only write that a service makes. It is one SQL statement: the facts, the names they take
(`shared.facts.reservations`) and the version they were decided on succeed or fail together.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import asyncpg

from shared import tracing
from shared.errors import NameTakenError, VersionConflictError
from shared.facts.envelope import Event, read_event
from shared.facts.reservations import Reservation, releases_of, reservations_of
from shared.journal.postgres import Database, in_our_words
from shared.logs import ids_of, seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """An event as it stands in the journal: `body` is its canonical JSON, to the byte, even if we cannot read it."""

    version: int
    kind: str
    collectivite: str
    body: str


class History(Protocol):
    """The facts of every stream."""

    async def load(self, stream_id: UUID) -> list[Event]:
        """Return the events of one stream in order; none when it does not exist.

        Raises:
            NewerFactError: a newer version has written one of them: leave this stream alone.
        """

    async def recorded(self, stream_id: UUID, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """Return the events of one stream as they stand, those after a version, so many at most."""

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        """Record events of one stream, all or none.

        Args:
            events: one or more, of the same stream, in order; their `version` is given here.
            expected_version: the version they were decided on; 0 for a new stream.

        Returns:
            The events as recorded, numbered from `expected_version + 1`.

        Raises:
            VersionConflictError: the stream is not at that version (any more).
            NameTakenError: another stream holds a name that these events take.
            UnavailableError: the journal did not answer; whether it recorded is unknown: load to see.
        """

    async def holder(self, name: Reservation) -> UUID | None:
        """Return the stream that holds a name, if any does."""

    async def holders(self, names: Sequence[Reservation]) -> dict[Reservation, UUID]:
        """Return which stream holds each of these names; those that nobody holds are not in it."""

    async def validated_with_nomfic(self, nomfic: str) -> list[UUID]:
        """Return every flux whose NomFic, as validated, is this one; oldest first."""

    async def whose_last_fact_is(self, kind: str, collectivites: Collection[str] | None = None) -> list[UUID]:
        """Return the flux (of these collectivités; None: of all) whose last fact is of this kind; oldest first."""


# Loads one stream.
_LOAD = "select body from journal where stream_id = $1 order by version"

# Shows one stream as it stands.
_RECORDED = """
select version, kind, collectivite, body from journal
where stream_id = $1 and version > $2 order by version limit $3
"""

# Appends facts of one stream, with the names they take and give up. Inserts nothing when the version is not there.
_APPEND = """
with expected as (
    select $1::uuid as stream_id
    where case
        when $2 = 0 then not exists (select from journal where stream_id = $1)
        else exists (select from journal where stream_id = $1 and version = $2)
    end
), released as (
    delete from reservation using expected
    where reservation.stream_id = expected.stream_id and exists (
        select from unnest($3::text[], $12::text[]) as given_up (kind, prefix)
        where reservation.kind = given_up.kind and starts_with(reservation.value, given_up.prefix)
    )
), taken as (
    insert into reservation (scope, kind, value, stream_id)
    select named.scope, named.kind, named.value, expected.stream_id
    from expected, unnest($4::text[], $5::text[], $6::text[]) as named (scope, kind, value)
)
insert into journal (stream_id, version, event_id, collectivite, kind, body)
select expected.stream_id, fact.version, fact.event_id, fact.collectivite, fact.kind, fact.body
from expected,
    unnest($7::int[], $8::uuid[], $9::text[], $10::text[], $11::text[])
        as fact (version, event_id, collectivite, kind, body)
order by fact.version
returning version
"""

# Finds who holds a name.
_HOLDER = "select stream_id from reservation where scope = $1 and kind = $2 and value = $3"

# Finds who holds each of several names.
_HOLDERS = """
select scope, kind, value, stream_id from reservation
where (scope, kind, value) in (select * from unnest($1::text[], $2::text[], $3::text[]))
"""

# Finds flux by NomFic, through the index made for it.
_BY_NOMFIC = """
select stream_id from journal
where kind = 'flux.validated.v1' and ((body::jsonb) #>> '{data,header,nomfic}') = $1
order by position
"""

# Finds flux that stopped at one kind of fact.
_STOPPED_AT = """
select stream_id from journal here
where kind = $1 and ($2::text[] is null or collectivite = any($2))
  and not exists (select from journal next where next.stream_id = here.stream_id and next.version > here.version)
order by position
"""


class PostgresHistory:
    """The journal in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """Use this database; its login needs SELECT and INSERT on the journal, nothing more."""
        self._database = database

    async def load(self, stream_id: UUID) -> list[Event]:
        """See `History.load`."""
        rows = await self._database.fetch(_LOAD, stream_id)
        return [read_event(row["body"]) for row in rows]

    async def recorded(self, stream_id: UUID, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """See `History.recorded`."""
        return [Recorded(**row) for row in await self._database.fetch(_RECORDED, stream_id, after, limit)]

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        """See `History.append`."""
        numbered = number(events, expected_version)
        stream_id = numbered[0].stream_id
        taken = [name for event in numbered for name in reservations_of(event.data, event.collectivite)]
        releases = [release for event in numbered for release in releases_of(event.data)]
        began = time.perf_counter()
        try:
            with in_our_words():
                recorded = await self._database.fetch(
                    _APPEND,
                    stream_id,
                    expected_version,
                    [release.kind for release in releases],
                    [name.scope for name in taken],
                    [name.kind for name in taken],
                    [name.value for name in taken],
                    [event.version for event in numbered],
                    [event.event_id for event in numbered],
                    [event.collectivite for event in numbered],
                    [event.kind for event in numbered],
                    [event.to_bytes().decode() for event in numbered],
                    [release.prefix for release in releases],
                )
        except asyncpg.UniqueViolationError as error:
            await self._raise_what_was_taken(error, taken, stream_id, expected_version)
            raise
        except asyncpg.TransactionRollbackError as error:  # a deadlock all the same: PostgreSQL undid this append
            raise VersionConflictError(stream_id, expected_version) from error
        if len(recorded) != len(numbered):
            raise VersionConflictError(stream_id, expected_version)
        _tell(numbered, time.perf_counter() - began)
        return numbered

    async def holder(self, name: Reservation) -> UUID | None:
        """See `History.holder`."""
        rows = await self._database.fetch(_HOLDER, name.scope, name.kind, name.value)
        return rows[0]["stream_id"] if rows else None

    async def holders(self, names: Sequence[Reservation]) -> dict[Reservation, UUID]:
        """See `History.holders`."""
        columns = [[getattr(one, part) for one in names] for part in ("scope", "kind", "value")]
        rows = await self._database.fetch(_HOLDERS, *columns)
        return {Reservation(row["scope"], row["kind"], row["value"]): row["stream_id"] for row in rows}

    async def validated_with_nomfic(self, nomfic: str) -> list[UUID]:
        """See `History.validated_with_nomfic`."""
        return [row["stream_id"] for row in await self._database.fetch(_BY_NOMFIC, nomfic)]

    async def whose_last_fact_is(self, kind: str, collectivites: Collection[str] | None = None) -> list[UUID]:
        """See `History.whose_last_fact_is`."""
        named = None if collectivites is None else sorted(collectivites)
        return [row["stream_id"] for row in await self._database.fetch(_STOPPED_AT, kind, named)]

    async def _raise_what_was_taken(
        self, error: asyncpg.UniqueViolationError, taken: list[Reservation], stream_id: UUID, expected_version: int
    ) -> None:
        if error.constraint_name == "journal_stream_id_version_key":
            raise VersionConflictError(stream_id, expected_version) from error
        if error.constraint_name != "reservation_pkey":
            return
        for name in taken:
            holder = await self.holder(name)
            if holder is not None:
                raise NameTakenError(name.kind, holder) from error
        # Whoever held it has just let it go: deciding again will settle it.
        raise VersionConflictError(stream_id, expected_version) from error


def _tell(events: Sequence[Event], took: float) -> None:
    """Say that events have just been recorded."""
    tracing.recorded(events, seconds=took)
    for event in events:
        fields = {"kind": event.kind, "version": event.version, "duration_seconds": seconds(took)}
        logger.info("fact.recorded", extra={**ids_of(event), **fields})


def number(events: Sequence[Event], expected_version: int) -> list[Event]:
    """Give events of one stream the versions that follow `expected_version`."""
    if not events or len({event.stream_id for event in events}) != 1:
        raise ValueError("an append holds one or more events of one stream")
    return [
        event.model_copy(update={"version": version}) for version, event in enumerate(events, expected_version + 1)
    ]

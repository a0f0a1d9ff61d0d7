"""What an older version wrote in tables becomes facts in their streams, once: the last step of `migrate`.

Each row is a fact of its author, at its time, for its reason. The oldest comes first, after the opening of the
collectivité, which that version did not know of. All identifiers follow from the rows: doing it again adds nothing.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

import asyncpg

from pes.text import printable
from shared.facts import collectivite as facts
from shared.facts.envelope import ACTOR_CHARACTERS_MAX, Event
from shared.facts.fact import Fact, kind_of
from shared.facts.platform import PackInstalled
from shared.facts.reservations import reservations_of
from shared.facts.streams import EVERY_COLLECTIVITE, Stream, StreamKind, collectivite_stream, platform_stream

STEP: Final = "decisions_into_facts"
REASON: Final = "Repris d’une version antérieure"
ACTOR: Final = "heliotrope"
_NAMES: Final = UUID("5f0b7f0e-2f3b-5c86-8f0a-6f1f0b8f4d21")  # never changes: ids of events follow from it

# The rows of each table as facts: whose, by whom, when; `place` puts them in order, even where clocks disagreed. The
# columns are named as the fields of the fact. What was ended comes before its end, what was set keeps its order.
_ROWS: Final[dict[type[Fact], str]] = {
    PackInstalled: """
select '*' as collectivite, installed_by as actor, installed_at as at, installed_at as place,
    to_jsonb(schema_pack) || jsonb_build_object('pack', to_jsonb(schema_pack)) as fact
from schema_pack order by place, pack_id
""",
    facts.PolicySet: """
select collectivite, changed_by as actor, changed_at as at, to_jsonb(control_policy) as fact,
    max(changed_at) over (partition by collectivite order by position) as place
from control_policy order by position
""",
    facts.CircuitSet: """
select collectivite, changed_by as actor, changed_at as at, to_jsonb(circuit) as fact,
    max(changed_at) over (partition by collectivite order by position) as place
from circuit order by position
""",
    facts.MandateGranted: """
select collectivite, recorded_by as actor, recorded_at as at, recorded_at as place, to_jsonb(mandate) as fact
from mandate order by place, mandate_id
""",
    facts.MandateEnded: """
select collectivite, ended.recorded_by as actor, ended.recorded_at as at, to_jsonb(ended) as fact,
    greatest(ended.recorded_at, mandate.recorded_at) as place
from mandate_end as ended join mandate using (mandate_id) order by ended.position
""",
    facts.DelegationGiven: """
select collectivite, recorded_by as actor, recorded_at as at, recorded_at as place, to_jsonb(delegation) as fact
from delegation order by place, delegation_id
""",
    facts.DelegationEnded: """
select collectivite, ended.recorded_by as actor, ended.recorded_at as at, to_jsonb(ended) as fact,
    greatest(ended.recorded_at, delegation.recorded_at) as place
from delegation_end as ended join delegation using (delegation_id) order by ended.position
""",
}
_KNOWN = "select event_id from journal where event_id = any($1)"
_VERSIONS = "select stream_id, max(version) as version from journal where stream_id = any($1) group by stream_id"
# Empties what follows from these facts, of which none is recorded yet: each row comes back with its fact.
_EMPTY = "select rebuild_projection(name) from projection where kinds && $1"
_APPEND = """
insert into journal (stream_id, version, event_id, collectivite, kind, body) values ($1, $2, $3, $4, $5, $6)
"""
_RESERVE = "insert into reservation (scope, kind, value, stream_id) values ($1, $2, $3, $4)"


async def decisions_into_facts(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Record what the tables of an older version hold, as far as it is not recorded; in the caller's transaction."""
    await connection.execute("set local time zone 'UTC'")
    rows = [(fact, row) for fact, query in _ROWS.items() for row in await connection.fetch(query)]
    events = [_event(fact, row) for fact, row in sorted(rows, key=lambda one: one[1]["place"])]
    known = {row["event_id"] for row in await connection.fetch(_KNOWN, [event.event_id for event in events])}
    new = {event.event_id: event for event in events if event.event_id not in known}
    if not new:
        return
    streams = list({event.stream_id for event in events})
    versions = {row["stream_id"]: row["version"] for row in await connection.fetch(_VERSIONS, streams)}
    await connection.execute(_EMPTY, [kind_of(fact) for fact in _ROWS])
    for event in _numbered(list(new.values()), versions):
        body = event.to_bytes().decode()
        await connection.execute(
            _APPEND, event.stream_id, event.version, event.event_id, event.collectivite, event.kind, body
        )
        for name in reservations_of(event.data, event.collectivite):
            await connection.execute(_RESERVE, name.scope, name.kind, name.value, event.stream_id)


def _event(kind: type[Fact], row: asyncpg.Record) -> Event:
    fact = kind.model_validate_json(row["fact"])
    actor = printable(row["actor"], ACTOR_CHARACTERS_MAX) or ACTOR
    name = f"{row['collectivite']} {actor} {row['at'].isoformat()} {fact.model_dump_json()}"
    return Event(
        event_id=uuid5(_NAMES, name),
        stream=_stream_of(fact, row["collectivite"]),
        version=0,
        collectivite=row["collectivite"],
        actor=actor,
        correlation_id=uuid5(_NAMES, f"correlation {name}"),
        occurred_at=row["at"],
        data=fact,
    )


def _stream_of(fact: Fact, collectivite: str) -> Stream:
    if isinstance(fact, PackInstalled):
        return platform_stream("packs")
    return platform_stream("defaults") if collectivite == EVERY_COLLECTIVITE else collectivite_stream(collectivite)


def _numbered(events: Sequence[Event], versions: dict[UUID, int]) -> list[Event]:
    """Give each event its version in its stream, after those there are; a collectivité is opened first."""
    numbered: list[Event] = []
    for event in events:
        following = [event]
        if event.stream_id not in versions and event.stream.kind is StreamKind.COLLECTIVITE:
            following = [_opened(event), event]
        for one in following:
            versions[one.stream_id] = versions.get(one.stream_id, 0) + 1
            numbered.append(one.model_copy(update={"version": versions[one.stream_id]}))
    return numbered


def _opened(first: Event) -> Event:
    """Return the opening of a collectivité, when the first thing that is known of it was decided."""
    opened = facts.CollectiviteOpened(siren=first.collectivite, reason=REASON)
    event_id = uuid5(_NAMES, f"opened {first.collectivite}")
    return first.model_copy(update={"event_id": event_id, "actor": ACTOR, "data": opened})

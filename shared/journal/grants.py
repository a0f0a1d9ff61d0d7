"""What each service's login may do in the database, declared once: `migrate` makes it so (`shared.journal.logins`).

A grant says which tables and columns; a row policy says which rows of the tables that several services share: of the
journal, the kinds of facts that a service records; of the reservations, those that its facts take or give up; of the
cursors and parked messages, its own group's. What is not said here is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.facts.fact import kind_of
from shared.facts.recorders import RECORDED_BY, SERVICES_THAT_CONSUME
from shared.facts.reservations import RELEASED_BY, TAKEN_BY

Tables = Mapping[str, tuple[str, ...]]

_READ: Final = ("select",)
_KEEP: Final = ("select", "insert", "update")
_CHANGE: Final = ("select", "insert", "update", "delete")
_ADD: Final = ("select", "insert")

_RECORDING: Final[Tables] = {
    # Neither the position nor the transaction: the order of the whole history follows from them.
    "journal": ("select", "insert (stream_id, version, event_id, collectivite, kind, body)"),
    "reservation": ("select", "insert", "delete"),
}
_CONSUMING: Final[Tables] = {"journal_order": _READ, "consumer_cursor": _KEEP, "parked": _CHANGE}

# What a service has beside recording facts and hearing of them.
_TABLES: Final[Mapping[str, Tables]] = {
    "ingest": {},
    "validation": {
        **dict.fromkeys(("control_policy", "schema_pack", "collectivite", "identifier"), _READ),
        "schema_archive": _ADD,
    },
    "signature": dict.fromkeys(
        ("mandate", "mandate_end", "circuit", "delegation", "delegation_end", "seal_choice"), _READ
    ),
    "gateway": {"collectivite": _READ},
    "ack": {"reply_view": _READ},
    "relay": {"journal": _READ, "journal_order": _ADD, "relay_cursor": _KEEP},
    "history": {
        "journal": _READ,
        "journal_order": _READ,
        "consumer_cursor": _KEEP,
        "flux_view": _CHANGE,
        "flux_skipped": _CHANGE,
    },
}

SERVICES_WITH_A_LOGIN: Final = tuple(_TABLES)
OF_THE_OWNER_ALONE: Final = ("projection", "schema_step")
_READ_WHOLE: Final[tuple[str, ...]] = ("journal", "reservation")
_KEPT_BY_GROUP: Final[tuple[str, ...]] = ("consumer_cursor", "parked")
WITH_ROW_POLICIES: Final = (*_READ_WHOLE, *_KEPT_BY_GROUP)

# An event says in its body too what stands in its columns, and the body is what is read: they must agree. However
# long, it is parsed once. A stream has one of two names in it; given both, both agree. (`json` refuses a NUL.)
_BODY: Final = r"(replace(journal.body, '\u0000'::text, '\u0001'::text))::json"
_SAID: Final = ", ".join(
    f"{name} text" for name in ("kind", "collectivite", "version", "event_id", "flux_id", "stream_id")
)
_AS_ITS_ROW: Final[Mapping[str, str]] = {
    "said.kind": "journal.kind",
    "said.collectivite": "journal.collectivite",
    "said.version": "(journal.version)::text",
    "said.event_id": "(journal.event_id)::text",
    "COALESCE(said.flux_id, said.stream_id)": "(journal.stream_id)::text",
    "COALESCE(said.stream_id, said.flux_id)": "(journal.stream_id)::text",
}
_AGREES: Final = " AND ".join(f"({said} = {column})" for said, column in _AS_ITS_ROW.items())
_BODY_AGREES: Final = f"(EXISTS ( SELECT\n   FROM json_to_record({_BODY}) said({_SAID})\n  WHERE ({_AGREES})))"


@dataclass(frozen=True)
class Policy:
    """A row policy, in the words of PostgreSQL's own view `pg_policies`: so it is seen whether it is there."""

    tablename: str
    policyname: str
    login: str
    cmd: str
    qual: str | None = None
    with_check: str | None = None

    @property
    def sql(self) -> str:
        """The statement that makes it."""
        using = f" using ({self.qual})" if self.qual else ""
        check = f" with check ({self.with_check})" if self.with_check else ""
        return f"create policy {self.policyname} on {self.tablename} for {self.cmd} to {self.login}{using}{check}"


def login_of(service: str) -> str:
    """Return the login that a service connects as."""
    return f"heliotrope_{service}"


def tables_of(service: str) -> dict[str, tuple[str, ...]]:
    """Return the privileges of a service on each table that it has any on."""
    recording = _RECORDING if service in RECORDED_BY else {}
    consuming = _CONSUMING if service in SERVICES_THAT_CONSUME else {}
    return {**recording, **consuming, **_TABLES[service]}


def kinds_of(service: str) -> tuple[str, ...]:
    """Return the kinds of facts that a service may record."""
    return tuple(kind_of(fact) for fact in RECORDED_BY.get(service, ()))


def taken_by(service: str) -> tuple[str, ...]:
    """Return the kinds of names that a service may take: those of the facts it records."""
    return _names(service, TAKEN_BY)


def released_by(service: str) -> tuple[str, ...]:
    """Return the kinds of names that a service may give up: those of the facts it records."""
    return _names(service, RELEASED_BY)


def grants_of(service: str) -> list[str]:
    """Return the statements that leave a login what is declared here, and nothing else."""
    login = login_of(service)
    return [
        *(
            f"revoke all on all {things} in schema public from {login}"
            for things in ("tables", "sequences", "routines")
        ),
        f"revoke all on schema public from {login}",
        f"grant usage on schema public to {login}",
        *(f"grant {', '.join(rights)} on {table} to {login}" for table, rights in tables_of(service).items()),
    ]


def policies_of(service: str) -> Iterator[Policy]:
    """Yield the row policies of a login."""
    login, tables = login_of(service), tables_of(service)
    for table in [name for name in _READ_WHOLE if name in tables]:
        yield Policy(table, f"{service}_reads", login, "SELECT", qual="true")
    if kinds := kinds_of(service):
        check = f"({_kind_among(kinds)} AND {_BODY_AGREES})"
        yield Policy("journal", f"{service}_records", login, "INSERT", with_check=check)
    if taken := taken_by(service):
        yield Policy("reservation", f"{service}_takes", login, "INSERT", with_check=_kind_among(taken))
    if released := released_by(service):
        yield Policy("reservation", f"{service}_releases", login, "DELETE", qual=_kind_among(released))
    for table in [name for name in _KEPT_BY_GROUP if name in tables]:
        own = f"(consumer_group = '{service}'::text)"
        yield Policy(table, f"{service}_keeps_its_own", login, "ALL", qual=own, with_check=own)


def _names(service: str, names: Mapping[type, tuple[str, ...]]) -> tuple[str, ...]:
    facts = RECORDED_BY.get(service, ())
    return tuple(sorted({name for fact in facts for name in names.get(fact, ())}))


def _kind_among(kinds: tuple[str, ...]) -> str:
    return f"(kind = ANY ('{{{','.join(kinds)}}}'::text[]))"

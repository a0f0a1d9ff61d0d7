"""What is declared of a login, as the database is told it."""

from shared.facts.recorders import OPERATOR, RECORDED_BY, SERVICES_THAT_CONSUME
from shared.journal.grants import (
    OF_THE_OWNER_ALONE,
    SERVICES_WITH_A_LOGIN,
    grants_of,
    kinds_of,
    policies_of,
    released_by,
    tables_of,
    taken_by,
)

COLUMNS = "stream_id, version, event_id, collectivite, kind, body"
BODY_AGREES = (
    "(EXISTS ( SELECT\n   FROM json_to_record("
    r"(replace(journal.body, '\u0000'::text, '\u0001'::text))::json"
    ") said(kind text, collectivite text, version text, event_id text, flux_id text, stream_id text)\n"
    "  WHERE ((said.kind = journal.kind) AND (said.collectivite = journal.collectivite)"
    " AND (said.version = (journal.version)::text) AND (said.event_id = (journal.event_id)::text)"
    " AND (COALESCE(said.flux_id, said.stream_id) = (journal.stream_id)::text)"
    " AND (COALESCE(said.stream_id, said.flux_id) = (journal.stream_id)::text))))"
)


def test_the_grants_of_a_login_are_always_the_same_text() -> None:
    assert grants_of("ingest") == [
        "revoke all on all tables in schema public from heliotrope_ingest",
        "revoke all on all sequences in schema public from heliotrope_ingest",
        "revoke all on all routines in schema public from heliotrope_ingest",
        "revoke all on schema public from heliotrope_ingest",
        "grant usage on schema public to heliotrope_ingest",
        f"grant select, insert ({COLUMNS}) on journal to heliotrope_ingest",
        "grant select, insert, delete on reservation to heliotrope_ingest",
    ]


def test_so_are_its_row_policies() -> None:
    assert [policy.sql for policy in policies_of("ingest")] == [
        "create policy ingest_reads on journal for SELECT to heliotrope_ingest using (true)",
        "create policy ingest_reads on reservation for SELECT to heliotrope_ingest using (true)",
        (
            "create policy ingest_records on journal for INSERT to heliotrope_ingest with check ("
            f"((kind = ANY ('{{flux.imported.v1,flux.cancelled.v1}}'::text[])) AND {BODY_AGREES}))"
        ),
        (
            "create policy ingest_takes on reservation for INSERT to heliotrope_ingest with check "
            "((kind = ANY ('{document,idempotency-key}'::text[])))"
        ),
        (
            "create policy ingest_releases on reservation for DELETE to heliotrope_ingest using "
            "((kind = ANY ('{bordereau,document,nomfic}'::text[])))"
        ),
    ]


def test_a_name_is_released_only_by_who_may() -> None:
    assert {service: released_by(service) for service in SERVICES_WITH_A_LOGIN if released_by(service)} == {
        "ingest": ("bordereau", "document", "nomfic"),
        "validation": ("budget",),
        "signature": ("bordereau", "nomfic"),
        "ack": ("bordereau",),
    }
    assert taken_by("gateway") == taken_by("relay") == taken_by("history") == ()


def test_whoever_records_facts_or_hears_of_them_has_a_login() -> None:
    assert set(SERVICES_WITH_A_LOGIN) >= {*RECORDED_BY, *SERVICES_THAT_CONSUME} - {OPERATOR}
    assert [service for service in SERVICES_WITH_A_LOGIN if not kinds_of(service)] == ["relay", "history"]


def test_what_is_the_owner_s_is_nobody_s() -> None:
    assert all(tables_of(service).keys().isdisjoint(OF_THE_OWNER_ALONE) for service in SERVICES_WITH_A_LOGIN)

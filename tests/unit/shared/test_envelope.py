"""An event is its bytes: read back as they were written; what is no event is refused, what is new is ignored."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import MalformedMessageError, NewerFactError
from shared.facts.envelope import Event, format_time, new_id, read_event
from shared.facts.fact import Fact
from shared.facts.flux import FluxImported
from shared.facts.streams import FACTS_OF, Stream, flux_stream
from tests import examples as an

NOW = datetime(2026, 2, 2, 12, 0, 0, 123456, tzinfo=UTC)
FACTS = [fact for fact in vars(an).values() if isinstance(fact, Fact)]
# What JSON can carry: any text but lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
TIMES = st.integers(0, 10**16).map(lambda micros: NOW + timedelta(microseconds=micros))
WRONG = st.none() | st.lists(TEXTS, max_size=3) | TEXTS.map(lambda text: f"no{text}")
REQUIRED = (
    "event_id",
    "flux_id",
    "version",
    "collectivite",
    "actor",
    "correlation_id",
    "occurred_at",
    "kind",
    "data",
)
AS_IN_THE_JOURNAL = (
    '{"actor":"amina","causation_id":"00000000-0000-0000-0000-000000000005","collectivite":"213499908",'
    '"correlation_id":"00000000-0000-0000-0000-000000000004","data":{"reason":"Importé par erreur"},'
    '"event_id":"00000000-0000-0000-0000-000000000001","flux_id":"00000000-0000-0000-0000-000000000002",'
    '"kind":"flux.cancelled.v1","occurred_at":"2026-02-02T12:00:00.123456Z","version":3}'
)


def event_of(fact: Fact, **changes: object) -> Event:
    event = Event.first(
        fact,
        stream=Stream(next(kind for kind, facts in FACTS_OF.items() if type(fact) in facts), new_id()),
        collectivite=an.collectivite,
        actor="amina",
        correlation_id=new_id(),
        at=NOW,
    )
    return Event.model_validate({**dict(event), **changes})


def members_of(fact: Fact) -> dict[str, object]:
    members: dict[str, object] = json.loads(event_of(fact).to_bytes())
    return members


def test_an_event_is_written_as_those_already_in_the_journal() -> None:
    event = event_of(
        an.cancelled,
        event_id=UUID(int=1),
        stream=flux_stream(UUID(int=2)),
        version=3,
        correlation_id=UUID(int=4),
        causation_id=UUID(int=5),
    )
    assert event.to_bytes().decode() == AS_IN_THE_JOURNAL
    assert read_event(AS_IN_THE_JOURNAL) == event


@pytest.mark.parametrize("fact", FACTS, ids=repr)
def test_an_event_is_read_back_as_it_was_written(fact: Fact) -> None:
    event = event_of(fact)
    body = event.to_bytes()
    assert read_event(body) == event
    assert read_event(body).to_bytes() == body
    assert rfc8785.dumps(json.loads(body)) == body


@given(filename=TEXTS, actor=TEXTS.filter(bool), key=TEXTS, at=TIMES)
def test_any_text_and_any_time_survive(filename: str, actor: str, key: str, at: datetime) -> None:
    fact = FluxImported(document=an.document, filename=filename, idempotency_key=key)
    event = Event.first(
        fact, stream=flux_stream(new_id()), collectivite=an.collectivite, actor=actor, correlation_id=new_id(), at=at
    )
    assert read_event(event.to_bytes()) == event


@given(st.binary(max_size=200))
def test_whatever_is_no_event_is_malformed_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        read_event(body)


def test_an_event_that_was_cut_off_is_malformed_wherever_it_was_cut() -> None:
    body = event_of(an.validated).to_bytes()
    for size in range(len(body)):
        with pytest.raises(MalformedMessageError):
            read_event(body[:size])


@pytest.mark.parametrize("name", REQUIRED)
def test_an_event_that_lacks_something_is_malformed(name: str) -> None:
    members = members_of(an.imported)
    del members[name]
    with pytest.raises(MalformedMessageError, match=name):
        read_event(json.dumps(members))


@given(name=st.sampled_from(["event_id", "version", "kind", "data", "occurred_at"]), value=WRONG)
def test_a_field_of_another_shape_is_malformed(name: str, value: object) -> None:
    with pytest.raises(MalformedMessageError, match="not an event we can read"):
        read_event(json.dumps(members_of(an.imported) | {name: value}))


def test_the_kind_inside_the_fact_does_not_overrule_the_envelope() -> None:
    members = members_of(an.cancelled)
    members["data"] = {"reason": "x", "kind": "flux.imported.v1"}
    assert read_event(json.dumps(members)).kind == "flux.cancelled.v1"


def test_an_error_names_the_place_and_never_the_content() -> None:
    members = members_of(an.imported)
    members["data"] = {"document": {"sha256": "secret", "size": 1}, "filename": "flux.xml"}
    with pytest.raises(MalformedMessageError, match="document") as malformed:
        read_event(json.dumps(members))
    assert "secret" not in str(malformed.value)


def test_a_field_from_a_newer_version_is_ignored() -> None:
    members = members_of(an.cancelled)
    members["data"] = {"reason": an.cancelled.reason, "colour": "blue"}
    members["signature"] = "x"
    assert read_event(json.dumps(members)).data == an.cancelled


@pytest.mark.parametrize(
    "newer",
    [{"kind": "flux.teleported.v1"}, {"data": {"document": {}}}, {"stream": "region"}, {"actor": None}],
    ids=["kind", "data", "stream", "envelope"],
)
def test_a_fact_that_this_version_does_not_know_so_is_of_a_newer_one(newer: dict[str, object]) -> None:
    members = members_of(an.imported) | newer
    with pytest.raises(NewerFactError) as raised:
        read_event(json.dumps(members))
    assert raised.value.kind == members["kind"]


@pytest.mark.parametrize("body", ["{}", "[1]", '{"kind": "flux.imported.v1"}'])
def test_what_is_in_no_envelope_is_of_nobody(body: str) -> None:
    with pytest.raises(MalformedMessageError) as raised:
        read_event(body)
    assert not isinstance(raised.value, NewerFactError)


def test_times_are_written_in_one_way() -> None:
    paris = datetime(2026, 7, 14, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(paris) == "2026-07-14T08:00:00.000000Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="without a zone"):
        event_of(an.imported, occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001  # the point of the test


@pytest.mark.parametrize(
    "wrong",
    [{"collectivite": ""}, {"collectivite": "1" * 65}, {"actor": ""}, {"actor": "x" * 256}, {"version": -1}],
    ids=str,
)
def test_an_envelope_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        event_of(an.imported, **wrong)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event_of(an.imported).actor = "someone else"  # type: ignore[misc]


def test_what_begins_has_no_cause_and_no_version_yet() -> None:
    first = event_of(an.imported)
    assert (first.version, first.causation_id, first.kind) == (0, None, "flux.imported.v1")


def test_what_follows_keeps_the_correlation_and_names_its_cause() -> None:
    first = event_of(an.imported, version=1)
    following = first.follow(an.validated, actor="validation", at=NOW)
    assert (following.correlation_id, following.causation_id) == (first.correlation_id, first.event_id)
    assert (following.flux_id, following.collectivite) == (first.flux_id, first.collectivite)
    assert (following.version, following.kind, following.actor) == (0, "flux.validated.v1", "validation")
    assert following.event_id != first.event_id


def test_ids_are_ordered_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {one.version for one in ids} == {7}

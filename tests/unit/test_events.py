"""Facts and their envelope: read what we wrote, byte for byte; refuse what is no event; ignore what is new."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.claims import claims_of, releases_of
from shared.envelope import Event, format_time, new_id, read_event
from shared.errors import MalformedMessageError
from shared.events import ALL_FACTS, Fact, FluxImported, kind_of
from shared.topics import TOPICS, topic_of
from tests import examples as an

NOW = datetime(2026, 2, 2, 12, 0, 0, 123456, tzinfo=UTC)
FACTS = [fact for fact in vars(an).values() if isinstance(fact, Fact)]
# What JSON can carry: any text but lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
TIMES = st.integers(0, 10**16).map(lambda micros: NOW + timedelta(microseconds=micros))
WRONG = st.none() | st.lists(TEXTS, max_size=3) | TEXTS.map(lambda text: f"no{text}")


def event_of(fact: Fact) -> Event:
    return Event.first(
        fact, flux_id=new_id(), collectivite=an.collectivite, actor="amina", correlation_id=new_id(), at=NOW
    )


@pytest.mark.parametrize("fact", FACTS, ids=repr)
def test_an_event_is_read_back_as_it_was_written(fact: Fact) -> None:
    event = event_of(fact)
    assert read_event(event.to_bytes()) == event
    assert read_event(event.to_bytes()).to_bytes() == event.to_bytes()


@given(filename=TEXTS, actor=TEXTS.filter(bool), key=TEXTS, at=TIMES)
def test_any_text_and_any_time_survive(filename: str, actor: str, key: str, at: datetime) -> None:
    fact = FluxImported(document=an.document, filename=filename, idempotency_key=key)
    event = Event.first(
        fact, flux_id=new_id(), collectivite=an.collectivite, actor=actor, correlation_id=new_id(), at=at
    )
    assert read_event(event.to_bytes()) == event


@given(st.binary(max_size=200))
def test_whatever_is_no_event_is_malformed_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        read_event(body)


@given(name=st.sampled_from(["event_id", "version", "kind", "data", "occurred_at"]), value=WRONG)
def test_a_field_of_another_shape_is_malformed(name: str, value: object) -> None:
    members = json.loads(event_of(an.imported).to_bytes()) | {name: value}
    with pytest.raises(MalformedMessageError, match="not an event we can read"):
        read_event(json.dumps(members))


def test_an_error_names_the_place_and_never_the_content() -> None:
    members = json.loads(event_of(an.imported).to_bytes())
    members["data"]["document"]["sha256"] = "secret"
    with pytest.raises(MalformedMessageError, match="document") as malformed:
        read_event(json.dumps(members))
    assert "secret" not in str(malformed.value)


def test_a_field_from_a_newer_version_is_ignored() -> None:
    members = json.loads(event_of(an.imported).to_bytes())
    members["data"]["colour"] = "blue"
    members["signature"] = "x"
    assert read_event(json.dumps(members)).data == an.imported


def test_a_fact_that_this_version_does_not_know_is_malformed() -> None:
    members = json.loads(event_of(an.imported).to_bytes()) | {"kind": "flux.imported.v2"}
    with pytest.raises(MalformedMessageError):
        read_event(json.dumps(members))


def test_times_are_written_in_one_way() -> None:
    paris = datetime(2026, 7, 14, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(paris) == "2026-07-14T08:00:00.000000Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Event.first(
            an.imported,
            flux_id=new_id(),
            collectivite="1",
            actor="x",
            correlation_id=new_id(),
            at=datetime(2026, 1, 1),  # noqa: DTZ001  # the point of the test
        )


def test_what_follows_keeps_the_correlation_and_names_its_cause() -> None:
    first = event_of(an.imported)
    following = first.follow(an.validated, actor="validation", at=NOW)
    assert following.correlation_id == first.correlation_id
    assert following.causation_id == first.event_id
    assert (following.flux_id, following.collectivite) == (first.flux_id, first.collectivite)


def test_ids_are_ordered_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}


def test_a_fact_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        an.imported.filename = "other.xml"  # type: ignore[misc]


def test_kinds_are_unique_and_versioned() -> None:
    kinds = [kind_of(fact) for fact in ALL_FACTS]
    assert len(set(kinds)) == len(kinds)
    assert all(kind.rsplit(".", 1)[1].removeprefix("v").isdigit() for kind in kinds)


def test_every_fact_says_what_it_means() -> None:
    assert all(fact.__doc__ and fact.__doc__ != Fact.__doc__ for fact in ALL_FACTS)


def test_every_kind_has_its_topic() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names)
    assert {topic_of(kind_of(fact)) for fact in ALL_FACTS} <= set(names)
    assert topic_of("flux.signed.v1") == "pes.flux.signed"


def test_only_imports_and_replies_take_names_and_only_a_cancellation_gives_one_up() -> None:
    takers = {type(fact).__name__ for fact in FACTS if claims_of(fact, an.collectivite)}
    givers = {type(fact).__name__ for fact in FACTS if releases_of(fact)}
    assert (takers, givers) == ({"FluxImported", "ReplyReceived"}, {"FluxCancelled"})

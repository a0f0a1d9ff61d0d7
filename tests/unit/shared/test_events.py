"""Facts: each defined once, frozen, named for ever, with a topic of its own."""

import re

import pytest
from pydantic import ValidationError

from shared.bus.topics import TOPICS, topic_of
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxImported
from shared.facts.reservations import releases_of, reservations_of
from shared.facts.streams import ALL_FACTS
from shared.facts.values import Document
from tests import examples as an

FACTS = [fact for fact in vars(an).values() if isinstance(fact, Fact)]


def test_every_fact_that_is_defined_can_be_read_back() -> None:
    assert set(Fact.__subclasses__()) == set(ALL_FACTS)


def test_every_fact_has_an_example() -> None:
    assert {type(fact) for fact in FACTS} == set(ALL_FACTS)


def test_a_fact_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        an.imported.filename = "other.xml"  # type: ignore[misc]


def test_a_fact_cannot_pass_for_another() -> None:
    with pytest.raises(ValidationError, match="kind"):
        FluxImported.model_validate({**an.imported.model_dump(), "kind": "flux.signed.v1"})


@pytest.mark.parametrize("sha256", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_a_document_is_named_by_a_digest_and_nothing_else(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        Document(sha256=sha256, size=1)


def test_kinds_are_unique_and_versioned() -> None:
    kinds = [kind_of(fact) for fact in ALL_FACTS]
    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z]+(\.[a-z-]+)+\.v[1-9]\d*", kind) for kind in kinds)


def test_every_fact_says_what_it_means() -> None:
    assert all(fact.__doc__ and fact.__doc__ != Fact.__doc__ for fact in ALL_FACTS)


def test_every_kind_has_its_topic() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names)
    assert {topic_of(kind_of(fact)) for fact in ALL_FACTS} <= set(names)
    assert topic_of("flux.signed.v1") == "pes.flux.signed"


def test_which_facts_take_names_and_which_give_them_up() -> None:
    takers = {type(fact).__name__ for fact in FACTS if reservations_of(fact, an.collectivite)}
    givers = {type(fact).__name__ for fact in FACTS if releases_of(fact)}
    registered = {"IdentifierRegistered", "MandateGranted", "DelegationGiven"}
    assert takers == {"FluxImported", "FluxValidated", "ReplyReceived"} | registered
    # A partial rejection gives up the bordereaux that it names; the example names none that can be told.
    assert givers == {"FluxCancelled", "FluxRejected", "SignaturesRejected", "IdentifierWithdrawn"}

"""What is recorded when something is asked of a collectivité, or of all: once, and nothing that was done before."""

from datetime import timedelta
from uuid import UUID

import pytest

from services.signature.granting import Asked, adopt, decide
from shared.errors import RequestRefusedError
from shared.facts.collectivite import CollectiviteOpened, SealChosen
from shared.facts.fact import Fact
from tests import examples as an

SOONER = timedelta(days=-1)
ASKED: list[Asked] = [an.mandate_granted, an.circuit_set, an.delegation_given, an.seal_chosen, an.seal_left]
GRANTED: list[Fact] = [an.opened, an.mandate_granted, an.delegation_given]


def refused(past: list[Fact], asked: Asked) -> str:
    with pytest.raises(RequestRefusedError) as error:
        decide(past, an.collectivite, asked)
    return error.value.slug


@pytest.mark.parametrize("asked", ASKED, ids=lambda fact: fact.kind)
def test_a_collectivite_is_opened_by_the_first_thing_decided_for_it(asked: Asked) -> None:
    opened, recorded = decide([], an.collectivite, asked)
    assert isinstance(opened, CollectiviteOpened)
    assert opened.siren == an.collectivite
    assert opened.reason
    assert recorded == asked
    assert decide([an.opened], an.collectivite, asked) == [asked]


@pytest.mark.parametrize("asked", [an.mandate_granted, an.delegation_given], ids=lambda fact: fact.kind)
def test_the_same_again_is_nothing_and_another_under_its_id_is_refused(asked: Asked) -> None:
    past: list[Fact] = [an.opened, asked]
    assert decide(past, an.collectivite, asked) == []
    assert refused(past, asked.model_copy(update={"valid_until": an.delegation_given.valid_until - SOONER})) == (
        "id-taken"
    )
    other = asked.model_copy(update={"mandate_id": UUID(int=1), "delegation_id": UUID(int=1)})
    assert decide(past, an.collectivite, other) == [other]


@pytest.mark.parametrize("asked", [*ASKED, an.mandate_ended, an.delegation_ended], ids=lambda fact: fact.kind)
def test_what_is_asked_again_for_another_reason_is_done_already(asked: Asked) -> None:
    again = asked.model_copy(update={"reason": "Demandé par écrit"})
    assert decide([*GRANTED, asked], an.collectivite, again) == []


@pytest.mark.parametrize("end", [an.mandate_ended, an.delegation_ended], ids=lambda fact: fact.kind)
def test_an_end_only_ever_comes_sooner(end: Asked) -> None:
    assert decide(GRANTED, an.collectivite, end) == [end]
    ended = [*GRANTED, end]
    assert decide(ended, an.collectivite, end) == []
    for days, expected in ((1, False), (-1, True)):
        other = end.model_copy(update={"ended_at": end.model_dump()["ended_at"] + timedelta(days=days)})
        assert decide(ended, an.collectivite, other) == ([other] if expected else [])


def test_an_end_after_the_foreseen_one_is_refused() -> None:
    foreseen = an.delegation_given.valid_until
    late = an.delegation_ended.model_copy(update={"ended_at": foreseen})
    assert refused(GRANTED, late) == "ends-before"
    bounded = an.mandate_granted.model_copy(update={"valid_until": an.mandate_ended.ended_at})
    assert refused([an.opened, bounded], an.mandate_ended) == "ends-before"


@pytest.mark.parametrize("collectivite", [an.collectivite, "*"])
def test_a_circuit_is_compared_with_the_last_one_of_its_kind_of_flux(collectivite: str) -> None:
    opened: list[Fact] = [] if collectivite == "*" else [an.opened]
    other = an.circuit_set.model_copy(update={"flux_kind": "recette"})
    none = an.circuit_set.model_copy(update={"steps": ()})
    past = [*opened, an.circuit_set, an.policy_set, other]
    assert decide(past, collectivite, an.circuit_set) == []
    assert decide(past, collectivite, none) == [none]
    assert decide([*past, none], collectivite, none) == []
    assert decide([*past, none], collectivite, an.circuit_set) == [an.circuit_set]


@pytest.mark.parametrize("collectivite", [an.collectivite, "*"])
def test_the_seal_is_chosen_once_and_left_once(collectivite: str) -> None:
    opened: list[Fact] = [] if collectivite == "*" else [an.opened]
    chosen = [*opened, an.seal_chosen]
    again = SealChosen(reason="Encore")
    assert decide(chosen, collectivite, again) == []
    assert decide(chosen, collectivite, an.seal_left) == [an.seal_left]
    assert decide([*chosen, an.seal_left], collectivite, an.seal_left) == []
    assert decide([*chosen, an.seal_left], collectivite, again) == [again]


def test_for_all_a_stream_begins_without_an_opening() -> None:
    assert decide([], "*", an.circuit_set) == [an.circuit_set]
    assert decide([an.policy_set], "*", an.seal_chosen) == [an.seal_chosen]


@pytest.mark.parametrize("said", [an.seal_chosen, an.seal_left])
def test_a_setting_is_adopted_where_nothing_was_ever_said_of_the_seal(said: Fact) -> None:
    setting = SealChosen(reason="Réglage")
    assert adopt([an.opened, an.circuit_set], an.collectivite, setting) == [setting]
    assert adopt([an.circuit_set], "*", setting) == [setting]
    assert adopt([an.opened, said], an.collectivite, setting) == []
    assert adopt([said, an.policy_set], "*", setting) == []

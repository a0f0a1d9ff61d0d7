"""Which fact may follow which: every pair of a state and a fact is tried, so nothing is allowed by accident."""

from collections import deque

import pytest

from shared.errors import UnexpectedFactError
from shared.facts import flux as facts
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import TRANSITIONS, State, fold
from tests import examples as an

EXAMPLES: dict[type[Fact], Fact] = {
    type(fact): fact for name, fact in vars(an).items() if isinstance(fact, Fact) and "_unsigned" not in name
}
SENT = [an.imported, an.validated, an.signed, an.requested, an.attempted, an.transmitted]


def path_to(state: State | None) -> list[Fact]:
    """Return a shortest history that ends in a state."""
    to_visit: deque[tuple[State | None, list[Fact]]] = deque([(None, [])])
    seen: set[State | None] = set()
    while to_visit:
        here, path = to_visit.popleft()
        if here is state:
            return path
        if here in seen:
            continue
        seen.add(here)
        for fact, following in TRANSITIONS[here].items():
            to_visit.append((following, [*path, EXAMPLES[fact]]))
    raise AssertionError(f"no history leads to {state}")


@pytest.mark.parametrize("state", [None, *State])
def test_every_state_can_be_reached(state: State | None) -> None:
    past = path_to(state)
    flux = fold(past)
    assert (flux.state, flux.version) == (state, len(past))


@pytest.mark.parametrize("fact", facts.FLUX_FACTS, ids=lambda fact: fact.__name__)
@pytest.mark.parametrize("state", [None, *State])
def test_a_fact_follows_a_state_only_where_the_table_says_so(state: State | None, fact: type[Fact]) -> None:
    flux = fold(path_to(state))
    if fact in TRANSITIONS[state]:
        after = flux.evolve(EXAMPLES[fact])
        assert after.state is TRANSITIONS[state][fact]
        assert after.version == flux.version + 1
    else:
        with pytest.raises(UnexpectedFactError):
            flux.evolve(EXAMPLES[fact])


def test_every_fact_is_somewhere_in_the_table() -> None:
    assert {fact for following in TRANSITIONS.values() for fact in following} == set(facts.FLUX_FACTS)


def test_every_state_has_its_words() -> None:
    assert all(state.on_screen for state in State)


def test_a_flux_that_needs_no_signature_is_ready_at_once() -> None:
    assert fold([an.imported, an.validated_unsigned]).state is State.READY


def test_a_flux_awaits_what_comes_next() -> None:
    assert fold([an.imported]).awaits(facts.FluxValidated)


@pytest.mark.parametrize(
    ("past", "fact"),
    [
        ([an.imported, an.validated], facts.FluxValidated),
        ([an.imported, an.invalidated], facts.FluxSigned),
        ([an.imported, an.cancelled], facts.FluxValidated),
        (SENT, facts.FluxTransmitted),
        ([*SENT, an.reply_received, an.acknowledged], facts.FluxTransmitted),
        ([an.imported, an.validated, an.visa_requested, an.visa_given, an.signature_restarted], facts.VisaGiven),
    ],
    ids=[
        "recorded",
        "ended otherwise",
        "cancelled",
        "sent once",
        "sent, then acknowledged",
        "led back",
    ],
)
def test_a_flux_is_past_what_is_done_or_will_never_be(past: list[Fact], fact: type[Fact]) -> None:
    assert fold(past).awaits(fact) is False


@pytest.mark.parametrize(
    ("past", "fact"),
    [([], facts.FluxValidated), ([an.imported], facts.SignatureRequested), ([an.imported], facts.FluxAcknowledged)],
)
def test_what_comes_too_early_is_an_error(past: list[Fact], fact: type[Fact]) -> None:
    with pytest.raises(UnexpectedFactError):
        fold(past).awaits(fact)


REQUESTED = [an.imported, an.validated, an.visa_requested]
SIGNED_AT_2 = an.bordereaux_signed.model_copy(update={"step": 2})


def test_the_steps_of_a_circuit_are_taken_in_order() -> None:
    flux = fold(REQUESTED)
    assert (flux.step, flux.left_to_sign) == (an.visa_step, ())
    flux = flux.evolve(an.visa_given)
    assert (flux.step, flux.left_to_sign) == (an.signing_step, ("D1",))
    flux = flux.evolve(SIGNED_AT_2)
    assert (flux.step, flux.left_to_sign, flux.state) == (None, (), State.TO_SIGN)
    assert flux.document == an.signed_document
    assert flux.signatures == an.bordereaux_signed.signatures


def test_a_signing_step_lasts_until_all_that_it_covers_is_signed() -> None:
    two = an.signature_requested.model_copy(update={"elements": ("D1", "D2")})
    flux = fold([an.imported, an.validated, two, an.bordereaux_signed])
    assert flux.left_to_sign == ("D2",)
    other = an.signature.model_copy(update={"element_id": "D2"})
    assert flux.evolve(an.bordereaux_signed.model_copy(update={"signatures": (other,)})).step is None


def test_signatures_that_were_asked_for_without_a_circuit_are_one_step_for_whoever_may() -> None:
    flux = fold([an.imported, an.validated, an.signature_requested])
    assert flux.step is not None
    assert (flux.step.kind, flux.step.any_of, flux.left_to_sign) == ("signature", (), ("D1",))


def test_a_circuit_that_begins_again_forgets_the_signatures_and_goes_back_to_the_file_as_imported() -> None:
    for past in (
        [*REQUESTED, an.visa_given, SIGNED_AT_2, an.signature_restarted],
        [*REQUESTED, an.visa_given, an.signature_refused, an.signature_restarted],
    ):
        flux = fold(past)
        assert (flux.state, flux.document) == (State.DRAFT, an.document)
        assert (flux.circuit, flux.steps_done, flux.signatures) == ((), 0, ())
        assert flux.evolve(an.signature_requested).steps_done == 0


def test_a_refused_flux_waits_for_a_person() -> None:
    flux = fold([*REQUESTED, an.signature_refused])
    assert (flux.on_screen, flux.stopped_at) == ("Visa refusé", "visa")
    assert not flux.awaits(facts.FluxSigned)


def test_what_a_flux_waits_for_is_what_its_step_is() -> None:
    assert fold(REQUESTED).on_screen == "À viser"
    signing = fold([*REQUESTED, an.visa_given])
    assert (signing.on_screen, signing.stopped_at) == ("À signer", "signature")
    assert fold([*REQUESTED, an.visa_given, an.signature_refused]).on_screen == "Signature refusée"
    assert fold([*REQUESTED, an.signature_refused, an.signature_restarted]).stopped_at == ""


def test_what_waits_for_the_platform_is_not_said_to_wait_for_a_person() -> None:
    assert fold([an.imported, an.validated]).on_screen == "Signature en préparation"


def test_the_document_in_force_is_the_signed_one() -> None:
    assert fold([an.imported]).document == an.document
    assert fold([an.imported, an.validated, an.signed]).document == an.signed_document


def test_what_validation_found_is_known_from_then_on() -> None:
    assert fold([an.imported]).header is None
    flux = fold([an.imported, an.validated, an.signature_requested])
    assert (flux.validated, flux.header) == (an.validated, an.header)


def test_the_header_of_an_invalid_flux_is_known_where_it_could_be_read() -> None:
    assert fold([an.imported, an.invalidated.model_copy(update={"header": an.header})]).header == an.header
    assert fold([an.imported, an.invalidated]).header is None


def test_the_answer_may_come_before_the_sending_is_known() -> None:
    flux = fold([*SENT[:-1], an.reply_received, an.acknowledged])
    assert flux.awaits(facts.FluxTransmitted)
    assert flux.evolve(an.transmitted).state is State.ACKNOWLEDGED


def test_a_second_reply_is_kept_and_changes_nothing() -> None:
    flux = fold([*SENT, an.reply_received, an.acknowledged, an.reply_received])
    assert flux.state is State.ACKNOWLEDGED


@pytest.mark.parametrize("end", [an.released, an.transmitted, an.attempted], ids=lambda fact: type(fact).__name__)
def test_a_hold_is_shown_until_it_ends(end: Fact) -> None:
    held = fold([*SENT[:-1], an.held])
    assert held.on_screen == "Envoi suspendu"
    assert held.evolve(end).held is None


def test_a_verdict_ends_a_hold() -> None:
    flux = fold([*SENT[:-1], an.held, an.reply_received, an.acknowledged])
    assert flux.held is None
    assert flux.on_screen == "Acquitté"


def test_an_attempt_is_in_flight_until_something_says_how_it_ended() -> None:
    flux = fold(SENT[:-1])
    assert flux.is_in_flight
    for end in (an.failed, an.transmitted, an.released):
        assert not flux.evolve(end).is_in_flight


@pytest.mark.parametrize("state", list(State))
def test_a_flux_may_be_cancelled_until_it_is_sent(state: State) -> None:
    before = {State.IMPORTED, State.INVALID, State.DRAFT, State.TO_SIGN, State.SIGNATURE_REFUSED, State.READY}
    assert fold(path_to(state)).may_be_cancelled == (state in before or state is State.SENDING)


REQUESTED_TO_LEAVE = [*SENT[:-2]]
HELD_FOR_A_CHANNEL = an.held.model_copy(update={"waits_for": "channel"})


@pytest.mark.parametrize(
    "before",
    [[], [HELD_FOR_A_CHANNEL], [HELD_FOR_A_CHANNEL, an.released]],
    ids=["requested", "another channel", "asked for again"],
)
def test_a_flux_of_which_nothing_has_left_may_be_cancelled(before: list[Fact]) -> None:
    flux = fold([*REQUESTED_TO_LEAVE, *before])
    assert flux.may_be_cancelled
    cancelled = flux.evolve(an.cancelled)
    assert (cancelled.on_screen, cancelled.held) == ("Annulé", None)


@pytest.mark.parametrize(
    "after",
    [[], [an.failed], [an.held], [an.held, an.released], [an.held, an.released, HELD_FOR_A_CHANNEL]],
    ids=["in flight", "refused", "in doubt", "released", "another channel since"],
)
def test_a_flux_of_which_a_byte_may_have_left_is_never_cancelled(after: list[Fact]) -> None:
    flux = fold([*REQUESTED_TO_LEAVE, an.attempted, *after])
    assert not flux.may_be_cancelled
    assert flux.awaits(facts.FluxCancelled) is False
    with pytest.raises(UnexpectedFactError):
        flux.evolve(an.cancelled)


def test_a_flux_of_no_facts_is_nothing() -> None:
    flux = fold([])
    assert (flux.state, flux.version, flux.document, flux.on_screen) == (None, 0, None, "")
    assert not flux.is_in_flight
    assert not flux.is_transmitted
    assert not flux.may_be_cancelled

"""Which flux a reply belongs to: exactly, or to none, with the reason."""

from dataclasses import replace

import pytest

from services.ack.acquit import Reading
from services.ack.decide import (
    DUPLICATE,
    NAMED_MAX,
    SECOND,
    SET_ASIDE,
    UNMATCHED,
    Candidate,
    Decision,
    Earlier,
    Reply,
    decide,
    printable,
)
from shared.facts.envelope import new_id
from shared.facts.fact import Fact
from shared.facts.flux import FluxAcknowledged, FluxPartiallyRejected, FluxRejected, ReplyReceived, ReplyUnmatched
from shared.facts.lifecycles.flux import fold
from tests import examples as an

HEADER = an.header
READING = Reading(
    nomfic=HEADER.nomfic,
    cod_col=HEADER.cod_col,
    cod_bud=HEADER.cod_bud,
    id_post=HEADER.id_post,
    verdict="acknowledged",
)
IN_FLIGHT: list[Fact] = [an.imported, an.validated, an.signed, an.requested, an.attempted]
SENT = [*IN_FLIGHT, an.transmitted]
ANSWERED = [*SENT, an.reply_received, an.acknowledged]


def reply(reading: Reading = READING) -> Reply:
    return Reply(document=an.reply, remote_name="ACK-1.xml", reading=reading)


def flux(past: list[Fact]) -> Candidate:
    return Candidate(new_id(), fold(past))


def kinds(decision: Decision) -> list[type[Fact]]:
    return [type(fact) for fact in decision.facts]


def reason(decision: Decision) -> str:
    assert decision.outcome == UNMATCHED
    assert decision.target is None
    last = decision.facts[-1]
    assert isinstance(last, ReplyUnmatched)
    return last.reason


@pytest.mark.parametrize("past", [SENT, IN_FLIGHT], ids=["sent", "the sending is not recorded yet"])
@pytest.mark.parametrize(
    ("verdict", "fact"),
    [
        ("acknowledged", FluxAcknowledged),
        ("partially_rejected", FluxPartiallyRejected),
        ("rejected", FluxRejected),
    ],
)
def test_a_reply_is_the_answer_of_the_flux_that_waits(past: list[Fact], verdict: str, fact: type[Fact]) -> None:
    candidate = flux(past)
    decision = decide(reply(replace(READING, verdict=verdict)), [candidate])  # type: ignore[arg-type]
    assert kinds(decision) == [ReplyReceived, fact]
    assert decision.target == candidate


def test_the_anomalies_go_with_the_verdict() -> None:
    reading = replace(READING, verdict="rejected", errors=(an.reply_error,))
    rejected = decide(reply(reading), [flux(SENT)]).facts[-1]
    assert isinstance(rejected, FluxRejected)
    assert rejected.errors == (an.reply_error,)


def test_a_second_reply_is_kept_with_the_flux_and_changes_nothing() -> None:
    candidate = flux(ANSWERED)
    decision = decide(reply(), [candidate])
    assert decision.outcome == SECOND
    assert kinds(decision) == [ReplyReceived]
    assert decision.target == candidate


def set_aside(past: list[Fact]) -> Candidate:
    return replace(flux(past), is_set_aside=True)


@pytest.mark.parametrize("read", [SENT, [an.imported]], ids=["its header", "not even its header"])
def test_a_reply_waits_while_a_flux_that_it_may_answer_cannot_be_read(read: list[Fact]) -> None:
    assert decide(reply(), [set_aside(read), flux(SENT)]) == Decision(SET_ASIDE, ())


def test_a_flux_of_another_budget_that_cannot_be_read_keeps_no_reply_waiting() -> None:
    elsewhere = an.validated.model_copy(update={"header": HEADER.model_copy(update={"cod_col": "999"})})
    waiting = flux(SENT)
    assert decide(reply(), [set_aside([an.imported, elsewhere]), waiting]).target == waiting


def of_the(day: str, past: list[Fact]) -> Candidate:
    """Return a flux with this DteStr."""
    validated = an.validated.model_copy(update={"header": HEADER.model_copy(update={"emitted_on": day})})
    return flux([validated if fact is an.validated else fact for fact in past])


@pytest.mark.parametrize("said", ["2026-02-02", ""], ids=["the DteStr of both", "no DteStr"])
def test_while_another_waits_a_reply_that_may_be_of_the_answered_one_is_a_doubt(said: str) -> None:
    answered, waiting = of_the("2026-02-02", ANSWERED), of_the("2026-02-02", SENT)
    told = reason(decide(reply(replace(READING, emitted_on=said)), [answered, waiting]))
    assert f"{answered.flux_id} (« Acquitté »)" in told
    assert f"{waiting.flux_id} (« En attente d’AR »)" in told


def test_a_flux_whose_dtestr_was_not_recorded_is_not_told_apart_by_it() -> None:
    candidates = [of_the("", ANSWERED), of_the("2026-02-03", SENT)]
    assert "rien ne dit auquel elle répond" in reason(
        decide(reply(replace(READING, emitted_on="2026-02-03")), candidates)
    )


def test_the_dtestr_tells_the_answer_of_a_corrected_file_from_a_late_one_of_the_first() -> None:
    first, corrected = of_the("2026-02-02", ANSWERED), of_the("2026-02-03", SENT)
    answer = decide(reply(replace(READING, emitted_on="2026-02-03")), [first, corrected])
    assert (kinds(answer), answer.target) == ([ReplyReceived, FluxAcknowledged], corrected)
    late = decide(reply(replace(READING, emitted_on="2026-02-02")), [first, corrected])
    assert (late.outcome, late.target) == (SECOND, first)


def test_a_flux_alone_is_answered_whatever_the_dtestr_of_the_reply() -> None:
    candidate = of_the("2026-02-02", SENT)
    assert decide(reply(replace(READING, emitted_on="2026-02-03")), [candidate]).target == candidate


def again(*, is_same_file: bool = False, reading: Reading = READING) -> Reply:
    """Return a reply whose bytes were recorded before."""
    return replace(reply(reading), earlier=Earlier(new_id(), is_same_file=is_same_file))


def is_repeated(decision: Decision) -> bool:
    received = decision.facts[0]
    assert isinstance(received, ReplyReceived)
    return received.is_repeated


def test_the_same_file_read_once_more_is_recorded_once_whoever_waits() -> None:
    assert decide(again(is_same_file=True), [flux(SENT)]) == Decision(DUPLICATE, ())


@pytest.mark.parametrize("answered", [1, 2])
def test_the_same_bytes_are_a_repetition_when_nobody_waits_for_them(answered: int) -> None:
    assert decide(again(), [flux(ANSWERED) for _ in range(answered)]) == Decision(DUPLICATE, ())


def test_the_same_bytes_without_a_verdict_are_a_repetition() -> None:
    assert decide(again(reading=Reading(reason="Tronqué.")), [flux(SENT)]) == Decision(DUPLICATE, ())


def test_the_same_bytes_are_the_answer_of_the_flux_that_waits_alone() -> None:
    waiting = flux(SENT)
    decision = decide(again(), [waiting])
    assert (kinds(decision), decision.target) == ([ReplyReceived, FluxAcknowledged], waiting)
    assert is_repeated(decision)
    assert not is_repeated(decide(reply(), [waiting]))


@pytest.mark.parametrize("candidates", [[], [flux(ANSWERED), flux(SENT)]], ids=["no flux", "a doubt"])
def test_the_same_bytes_that_may_answer_another_flux_are_kept_apart_once_more(candidates: list[Candidate]) -> None:
    repeated = again()
    decision = decide(repeated, candidates)
    assert repeated.earlier is not None
    assert str(repeated.earlier.stream_id) in reason(decision)
    assert is_repeated(decision)


def test_the_same_bytes_wait_too_while_a_flux_that_they_may_answer_cannot_be_read() -> None:
    assert decide(again(), [set_aside([an.imported]), flux(ANSWERED)]) == Decision(SET_ASIDE, ())


def test_two_flux_that_both_wait_are_a_doubt_and_no_guess() -> None:
    one, other = flux(SENT), flux(SENT)
    said = reason(decide(reply(), [one, other]))
    assert str(one.flux_id) in said
    assert str(other.flux_id) in said
    assert "rien ne dit auquel elle répond" in said


@pytest.mark.parametrize(("more", "told"), [(0, ""), (1, " ; et 1 autre"), (2, " ; et 2 autres")])
def test_a_reason_names_some_flux_and_counts_the_others(more: int, told: str) -> None:
    candidates = [flux(SENT) for _ in range(NAMED_MAX + more)]
    said = reason(decide(reply(), candidates))
    assert [str(one.flux_id) in said for one in candidates] == [True] * NAMED_MAX + [False] * more
    assert said.endswith(f"{candidates[NAMED_MAX - 1].flux_id} (« En attente d’AR »){told}.")


@pytest.mark.parametrize("name", ["nomfic", "cod_col", "cod_bud", "id_post"])
def test_one_value_that_differs_is_enough_to_belong_to_no_flux(name: str) -> None:
    said = reason(decide(reply(replace(READING, **{name: "99"})), [flux(SENT)]))  # type: ignore[arg-type]
    assert "« 99 »" in said


@pytest.mark.parametrize(
    ("name", "label"), [("nomfic", "NomFic"), ("cod_col", "CodCol"), ("cod_bud", "CodBud"), ("id_post", "IdPost")]
)
def test_a_reply_that_lacks_a_value_names_it(name: str, label: str) -> None:
    assert label in reason(decide(reply(replace(READING, **{name: ""})), [flux(SENT)]))  # type: ignore[arg-type]


def test_a_flux_that_never_left_is_not_answered() -> None:
    said = reason(decide(reply(), [flux([an.imported, an.validated])]))
    assert "n’a pas été transmis" in said


def test_a_name_that_nobody_knows_says_so() -> None:
    assert HEADER.nomfic in reason(decide(reply(), []))


def test_a_reply_without_a_verdict_gives_its_own_reason() -> None:
    assert reason(decide(reply(Reading(reason="Tronqué.")), [flux(SENT)])) == "Tronqué."


def test_a_name_with_odd_characters_can_be_stored_and_shown() -> None:
    assert printable("a\x00b\udce9c\n") == "a?b?c?"
    assert len(printable("x" * 1000)) <= 200

"""What leaves, when, and what to think of a sending that was cut off."""

from datetime import UTC, datetime, timedelta

import pytest

import tests.examples as an
from services.gateway import decide
from services.gateway.decide import Evidence, Marker, Outcome, Plan, Rules
from services.gateway.names import remote_name
from shared.errors import MalformedMessageError, RequestRefusedError, Why
from shared.facts.fact import Fact
from shared.facts.flux import (
    FluxTransmitted,
    TransmissionAttempted,
    TransmissionFailed,
    TransmissionHeld,
    TransmissionReleased,
)
from shared.facts.lifecycles.flux import fold

NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
HOLD = Rules(in_doubt_seconds=3, in_doubt_policy="hold", refusals_max=5, refused_retry_seconds=60)
RESEND = Rules(in_doubt_seconds=3, in_doubt_policy="resend", refusals_max=5, refused_retry_seconds=60)
READY: list[Fact] = [an.imported, an.validated, an.signature_requested, an.signed]
REQUESTED = [*READY, an.requested]
IN_FLIGHT = [*REQUESTED, an.attempted]
HELD = [*IN_FLIGHT, an.held.model_copy(update={"until": NOW})]
HELD_FOR_A_PERSON = [*IN_FLIGHT, an.held]
SIZE = an.signed_document.size


def planned(past: list[Fact], evidence: Evidence = Evidence(), rules: Rules = HOLD) -> Plan:  # noqa: B008  # frozen
    ours = ("passtrans-sftp",)
    return decide.plan(
        fold(past), evidence, channel=ours[0], ours=ours, remote_name=an.remote_name, now=NOW, rules=rules
    )


def attempt(number: int) -> TransmissionAttempted:
    return an.attempted.model_copy(update={"attempt": number})


def test_a_signed_flux_is_requested_and_attempted_before_it_is_uploaded() -> None:
    assert planned(READY) == Plan((an.requested, an.attempted), an.attempted)


def test_a_flux_that_needs_no_signature_leaves_as_imported() -> None:
    plan = planned([an.imported, an.validated_unsigned])
    assert plan.upload is not None
    assert plan.upload.document == an.imported.document


def test_a_flux_that_someone_asked_for_is_attempted() -> None:
    assert planned(REQUESTED) == Plan((an.attempted,), an.attempted)


@pytest.mark.parametrize(
    "past",
    [
        [an.imported],
        [an.imported, an.validated],
        [an.imported, an.validated, an.signature_requested],
        [an.imported, an.invalidated],
        [an.imported, an.cancelled],
        [an.imported_on_request, an.validated_unsigned],
        HELD,
        HELD_FOR_A_PERSON,
        [*IN_FLIGHT, an.transmitted],
        [*IN_FLIGHT, an.reply_received, an.acknowledged],
        [*IN_FLIGHT, an.transmitted, an.reply_received, an.rejected],
    ],
    ids=lambda past: past[-1].kind,
)
def test_nothing_leaves_that_is_not_due(past: list[Fact]) -> None:
    assert not decide.is_due(fold(past))
    assert planned(past) == Plan()


def test_a_whole_file_on_the_server_was_sent() -> None:
    found = FluxTransmitted(remote_name=an.remote_name, document=an.signed_document, evidence="found_on_server")
    assert planned(IN_FLIGHT, Evidence(size_on_server=SIZE)) == Plan((found,))


@pytest.mark.parametrize("size", [0, SIZE - 1])
def test_an_incomplete_file_on_the_server_is_sent_again(size: int) -> None:
    assert planned(IN_FLIGHT, Evidence(size_on_server=size)) == Plan((attempt(2),), attempt(2))


def test_a_file_that_is_not_there_after_a_cut_may_have_been_taken() -> None:
    (held,) = planned(IN_FLIGHT).record
    assert isinstance(held, TransmissionHeld)
    assert "doute" in held.cause


@pytest.mark.parametrize(("rules", "until"), [(HOLD, None), (RESEND, NOW + timedelta(seconds=3))])
def test_a_doubt_has_an_end_only_where_silence_is_proof(rules: Rules, until: datetime | None) -> None:
    (held,) = planned(IN_FLIGHT, rules=rules).record
    assert isinstance(held, TransmissionHeld)
    assert held.until == until


def test_an_attempt_that_this_process_never_began_is_made_again() -> None:
    assert planned(IN_FLIGHT, Evidence(is_unsent=True)) == Plan((attempt(2),), attempt(2))


def test_a_released_flux_is_sent_again_whatever_lies_on_the_server() -> None:
    assert planned([*HELD_FOR_A_PERSON, an.released]) == Plan((attempt(2),), attempt(2))


def test_an_upload_that_ended_well_is_transmitted() -> None:
    assert decide.conclude(IN_FLIGHT, Outcome(an.attempted), now=NOW, rules=HOLD) == [an.transmitted]


def test_a_reply_that_came_first_does_not_hide_the_transmission() -> None:
    past = [*IN_FLIGHT, an.reply_received, an.acknowledged]
    assert decide.conclude(past, Outcome(an.attempted), now=NOW, rules=HOLD) == [an.transmitted]


def test_a_transmission_is_recorded_once() -> None:
    assert decide.conclude([*IN_FLIGHT, an.transmitted], Outcome(an.attempted), now=NOW, rules=HOLD) == []


def test_a_refusal_of_an_attempt_that_was_settled_meanwhile_changes_nothing() -> None:
    for settled in ([an.failed], [an.failed, an.held], [an.failed, an.held, an.released]):
        refused = Outcome(an.attempted, "disk full")
        assert decide.conclude([*IN_FLIGHT, *settled], refused, now=NOW, rules=HOLD) == []


def refuse(past: list[Fact], times: int) -> tuple[list[Fact], list[TransmissionHeld]]:
    """Play so many refusals, each followed by a new attempt; return the facts and the holds."""
    past, holds = list(past), []
    for _ in range(times):
        past += planned(past).record
        last = fold(past).attempt
        assert last is not None
        failed, held = decide.conclude(past, Outcome(last, "disk full"), now=NOW, rules=HOLD)
        assert isinstance(failed, TransmissionFailed)
        assert isinstance(held, TransmissionHeld)
        assert failed.cause == "disk full"
        holds.append(held)
        past += [failed, held, an.released]
    return past[:-1], holds


def test_a_refused_file_is_tried_later_and_later_then_waits_for_a_person() -> None:
    _, holds = refuse(READY, 5)
    assert [held.until and (held.until - NOW).total_seconds() for held in holds] == [60, 120, 240, 480, None]


def test_after_a_person_decided_refusals_are_counted_anew() -> None:
    past, _ = refuse(READY, 5)
    _, holds = refuse([*past, an.released], 1)
    assert holds[0].until == NOW + timedelta(seconds=60)


def test_a_refusal_that_nobody_waits_for_is_not_recorded() -> None:
    past = [*IN_FLIGHT, an.reply_received, an.rejected]
    assert decide.conclude(past, Outcome(an.attempted, "no"), now=NOW, rules=HOLD) == []


def test_a_refusal_does_not_end_the_attempt_that_another_process_has_under_way() -> None:
    again = an.attempted.model_copy(update={"attempt": 2})
    assert decide.conclude([*IN_FLIGHT, again], Outcome(an.attempted, "no"), now=NOW, rules=HOLD) == []


def test_a_hold_ends_by_itself_when_silence_is_proof() -> None:
    (released,) = decide.end_hold(fold(HELD), Evidence(), now=NOW, rules=RESEND)
    assert isinstance(released, TransmissionReleased)
    assert "Aucune réponse de la DGFiP en 3 s" in released.reason


def test_a_hold_that_finds_the_file_was_a_transmission() -> None:
    (transmitted,) = decide.end_hold(fold(HELD), Evidence(size_on_server=SIZE), now=NOW, rules=RESEND)
    assert isinstance(transmitted, FluxTransmitted)
    assert transmitted.evidence == "found_on_server"


def test_silence_is_no_proof_while_replies_wait_to_be_read() -> None:
    assert decide.end_hold(fold(HELD), Evidence(has_unread_replies=True), now=NOW, rules=RESEND) == []


@pytest.mark.parametrize(
    ("past", "rules", "now"),
    [
        (HELD, HOLD, NOW + timedelta(days=1)),
        (HELD, RESEND, NOW - timedelta(seconds=1)),
        (HELD_FOR_A_PERSON, RESEND, NOW + timedelta(days=1)),
        (IN_FLIGHT, RESEND, NOW + timedelta(days=1)),
        ([*HELD, an.reply_received, an.acknowledged], RESEND, NOW + timedelta(days=1)),
    ],
    ids=["policy is hold", "too early", "a person must decide", "not held", "a reply came"],
)
def test_a_hold_goes_on(past: list[Fact], rules: Rules, now: datetime) -> None:
    assert not decide.is_hold_over(fold(past), now=now, rules=rules)
    assert decide.end_hold(fold(past), Evidence(), now=now, rules=rules) == []


def test_a_hold_after_a_refusal_ends_whatever_the_policy() -> None:
    past, holds = refuse(READY, 1)
    assert holds[0].until is not None
    assert decide.end_hold(fold(past), Evidence(), now=holds[0].until, rules=HOLD) == [
        TransmissionReleased(reason=decide.TRY_AGAIN)
    ]


def test_a_person_asks_for_a_flux_that_is_ready() -> None:
    past = [an.imported_on_request, an.validated, an.signature_requested, an.signed]
    assert decide.request(fold(past), "") == [an.requested]


@pytest.mark.parametrize(
    "past",
    [REQUESTED, IN_FLIGHT, [*IN_FLIGHT, an.transmitted], [*IN_FLIGHT, an.reply_received, an.acknowledged]],
    ids=lambda past: past[-1].kind,
)
def test_asking_twice_changes_nothing(past: list[Fact]) -> None:
    assert decide.request(fold(past), "") == []


def test_a_suspended_sending_starts_again_for_a_reason() -> None:
    with pytest.raises(RequestRefusedError, match="motif") as refused:
        decide.request(fold(HELD_FOR_A_PERSON), "")
    assert refused.value.why is Why.UNUSABLE
    held = fold(HELD_FOR_A_PERSON)
    with pytest.raises(RequestRefusedError, match="version") as refused:
        decide.request(held, an.released.reason)
    assert refused.value.extra == {"version": held.version}
    assert decide.request(held, an.released.reason, held.version) == [an.released]


@pytest.mark.parametrize(
    ("past", "slug"),
    [
        ([an.imported], "too-early"),
        ([an.imported, an.validated], "too-early"),
        ([an.imported, an.validated, an.signature_requested], "too-early"),
        ([an.imported, an.invalidated], "not-sendable"),
        ([an.imported, an.cancelled], "not-sendable"),
        ([*IN_FLIGHT, an.reply_received, an.rejected], "not-sendable"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1].kind,
)
def test_what_cannot_be_sent_is_refused(past: list[Fact], slug: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        decide.request(fold(past), "")
    assert (refused.value.why, refused.value.slug) == (Why.AS_THINGS_STAND, slug)


def test_the_remote_name_is_the_one_of_passtrans() -> None:
    name = remote_name(an.header, "d" * 40, p_dest=" VHPCE11 ", p_appli="THELPES2")
    assert name == "VHPCE11%%THELPES2%%PES#123#034990#00%%" + "d" * 40


@pytest.mark.parametrize("value", ["", "../12", "1/2", "a\0b", "a\\b", "1\n2", "1%%2", "1#2", "é12", "²"])
def test_a_header_never_makes_a_path_nor_another_route(value: str) -> None:
    header = an.header.model_copy(update={"cod_col": value})
    with pytest.raises(MalformedMessageError):
        remote_name(header, "d" * 40, p_dest="VHPCE11", p_appli="THELPES2")


@pytest.mark.parametrize(
    ("past", "first"),
    [(READY, [an.requested]), (REQUESTED, []), (IN_FLIGHT, []), ([*HELD_FOR_A_PERSON, an.released], [])],
    ids=["signed", "requested", "in flight", "released"],
)
@pytest.mark.parametrize("rules", [HOLD, RESEND])
def test_attempts_that_only_their_markers_know_are_recorded_and_held(
    past: list[Fact], first: list[Fact], rules: Rules
) -> None:
    markers = (Marker(attempt(2), NOW), Marker(attempt(3), NOW + timedelta(hours=1)))
    plan = planned(past, Evidence(unrecorded=markers), rules)
    held = plan.record[-1]
    assert plan == Plan((*first, attempt(2), attempt(3), held))
    assert isinstance(held, TransmissionHeld)
    assert (held.attempt, held.until) == (3, None)
    assert "02/02/2026 à 13:00:00 (UTC)" in held.cause
    flux = fold([*past, *plan.record])
    assert flux.held == held
    assert flux.is_in_flight
    assert not flux.may_be_cancelled


def test_an_incomplete_file_of_a_lost_attempt_is_no_proof() -> None:
    plan = planned(READY, Evidence(unrecorded=(Marker(attempt(1), NOW),), size_on_server=SIZE - 1))
    assert isinstance(plan.record[-1], TransmissionHeld)
    assert plan.upload is None


def test_a_whole_file_of_a_lost_attempt_was_sent() -> None:
    plan = planned(READY, Evidence(unrecorded=(Marker(attempt(1), NOW),), size_on_server=SIZE))
    found = FluxTransmitted(remote_name=an.remote_name, document=an.signed_document, evidence="found_on_server")
    assert plan == Plan((an.requested, attempt(1), found))


def test_a_released_flux_has_the_number_after_its_lost_attempts() -> None:
    past = [*READY, *planned(READY, Evidence(unrecorded=(Marker(attempt(4), NOW),))).record, an.released]
    assert planned(past).upload == attempt(5)


def test_nobody_releases_a_lost_attempt_without_a_reason() -> None:
    past = [*READY, *planned(READY, Evidence(unrecorded=(Marker(attempt(1), NOW),))).record]
    with pytest.raises(RequestRefusedError, match="restaurée"):
        decide.request(fold(past), "")

"""Mandates: who may sign when, to the instant, and what they are told when they may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.signature.mandates import Mandate, Refusal, mandate_for_certificate, mandate_of

FROM = datetime(2026, 3, 28, 8, 0, tzinfo=UTC)
UNTIL = datetime(2026, 6, 30, 22, 0, tzinfo=UTC)
NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
OURS, OTHER = "a" * 64, "b" * 64
MANDATE = Mandate(
    UUID(int=1), "213499908", "camille", "Camille Exemple, maire", "Délibération n° 2026-12", FROM, UNTIL
)
ENDLESS = replace(MANDATE, valid_until=None)


def refused(*mandates: Mandate, at: datetime = NOW, certificate: str = OURS) -> Refusal:
    answer = mandate_of("camille", mandates, at=at, certificate_sha256=certificate)
    assert isinstance(answer, Refusal)
    return answer


@pytest.mark.parametrize(
    ("at", "holds"),
    [(FROM - INSTANT, False), (FROM, True), (UNTIL - INSTANT, True), (UNTIL, False), (UNTIL + INSTANT, False)],
)
def test_a_mandate_holds_from_its_first_instant_until_its_end_excluded(at: datetime, holds: bool) -> None:
    assert MANDATE.holds(at) is holds


def test_a_mandate_without_end_holds_until_it_is_ended() -> None:
    assert ENDLESS.last is None
    assert ENDLESS.holds(FROM + timedelta(days=36_500))
    ended = replace(ENDLESS, ended_at=NOW)
    assert (ended.last, ended.holds(NOW - INSTANT), ended.holds(NOW)) == (NOW, True, False)


@pytest.mark.parametrize(("ended_at", "last"), [(NOW, NOW), (UNTIL + INSTANT, UNTIL)])
def test_of_the_foreseen_end_and_the_early_one_the_first_counts(ended_at: datetime, last: datetime) -> None:
    assert replace(MANDATE, ended_at=ended_at).last == last


def test_a_mandate_that_ends_before_it_begins_never_holds() -> None:
    ended = replace(MANDATE, ended_at=FROM - INSTANT)
    assert not any(ended.holds(at) for at in (FROM - 2 * INSTANT, FROM - INSTANT, FROM, NOW))


def test_a_mandate_allows_the_certificate_it_names_or_any_if_it_names_none() -> None:
    named = replace(MANDATE, certificate_sha256=OURS)
    assert (named.allows(OURS), named.allows(OTHER), named.allows("")) == (True, False, False)
    assert MANDATE.allows(OTHER)


def test_who_has_a_mandate_that_holds_signs_under_it() -> None:
    assert mandate_of("camille", [MANDATE], at=NOW, certificate_sha256=OURS) == MANDATE


def test_the_mandate_of_another_gives_no_right() -> None:
    refusal = refused(replace(MANDATE, person="karim"))
    assert (refusal.code, "pas de mandat" in refusal.reason) == ("mandate.none", True)


def test_a_mandate_that_has_not_begun_says_when_it_does() -> None:
    refusal = refused(MANDATE, at=FROM - INSTANT)
    assert refusal.code == "mandate.not-yet"
    assert "28/03/2026 à 09:00 (heure de Paris)" in refusal.reason
    assert MANDATE.act in refusal.reason


def test_a_mandate_that_has_ended_says_when_it_did() -> None:
    refusal = refused(replace(MANDATE, ended_at=NOW))
    assert refusal.code == "mandate.ended"
    assert "01/04/2026 à 14:00 (heure de Paris)" in refusal.reason


def test_of_several_mandates_the_latest_explains_the_refusal() -> None:
    before = replace(MANDATE, valid_from=FROM - timedelta(days=900), valid_until=FROM - timedelta(days=800))
    assert refused(MANDATE, before, at=UNTIL).reason.count("01/07/2026 à 00:00") == 1
    assert refused(MANDATE, before, at=FROM - INSTANT).code == "mandate.not-yet"


def test_a_mandate_that_names_another_certificate_is_said_so() -> None:
    assert refused(replace(MANDATE, certificate_sha256=OTHER)).code == "mandate.other-certificate"


def test_of_several_mandates_that_hold_one_that_allows_the_certificate_counts() -> None:
    other, ours = replace(MANDATE, certificate_sha256=OTHER), replace(MANDATE, certificate_sha256=OURS)
    assert mandate_of("camille", [other, ours], at=NOW, certificate_sha256=OURS) == ours


def test_an_ended_mandate_does_not_spoil_the_one_that_follows() -> None:
    ended, renewed = replace(MANDATE, ended_at=NOW), replace(MANDATE, mandate_id=UUID(int=2), valid_from=NOW)
    assert mandate_of("camille", [ended, renewed], at=NOW, certificate_sha256=OURS) == renewed


@pytest.mark.parametrize(("at", "found"), [(FROM, True), (UNTIL - INSTANT, True), (UNTIL, False)])
def test_what_was_signed_elsewhere_needs_a_mandate_that_names_its_certificate(at: datetime, found: bool) -> None:
    named = replace(MANDATE, certificate_sha256=OURS)
    answer = mandate_for_certificate([MANDATE, named], signing_time=at, received_at=at, certificate_sha256=OURS)
    assert answer == (named if found else None)


def test_a_mandate_that_names_no_certificate_vouches_for_none() -> None:
    assert mandate_for_certificate([MANDATE], signing_time=NOW, received_at=NOW, certificate_sha256=OURS) is None


def test_of_two_mandates_that_overlap_the_one_that_covers_both_instants_counts() -> None:
    newer = replace(MANDATE, mandate_id=UUID(int=2), valid_from=NOW)
    before = NOW - INSTANT
    for mandates in ([MANDATE, newer], [newer, MANDATE]):
        found = mandate_of("camille", mandates, at=NOW, certificate_sha256=OURS, signing_time=before)
        assert found == MANDATE
    refused = mandate_of("camille", [newer], at=NOW, certificate_sha256=OURS, signing_time=before)
    assert isinstance(refused, Refusal)
    assert refused.code == "mandate.ended"


def test_what_was_signed_elsewhere_must_come_while_the_mandate_holds() -> None:
    named = replace(MANDATE, certificate_sha256=OURS)
    late = mandate_for_certificate([named], signing_time=FROM, received_at=UNTIL, certificate_sha256=OURS)
    assert late is None


def test_nobody_signs_with_the_certificate_that_the_mandate_of_another_names() -> None:
    hers = replace(MANDATE, certificate_sha256=OURS)
    his = replace(MANDATE, mandate_id=UUID(int=2), person="dominique")
    refused = mandate_of("dominique", [hers, his], at=NOW, certificate_sha256=OURS)
    assert isinstance(refused, Refusal)
    assert refused.code == "mandate.certificate-of-another"
    assert mandate_of("camille", [hers, his], at=NOW, certificate_sha256=OURS) == hers

"""Doing a thing again: how soon, and how often."""

import pytest

from shared.errors import UnavailableError, VersionConflictError
from shared.facts.envelope import new_id
from shared.retrying import ATTEMPTS_MAX, FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS, delay_after, until_no_conflict


class Attempt:
    """Meets so many conflicts, or another error, then succeeds."""

    def __init__(self, conflicts: int, error: Exception | None = None) -> None:
        self.conflicts = conflicts
        self.error = error
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.conflicts:
            raise VersionConflictError(new_id(), self.calls)
        if self.error is not None:
            raise self.error
        return "recorded"


@pytest.mark.parametrize("conflicts", [0, 1, ATTEMPTS_MAX - 1])
async def test_after_a_conflict_it_is_decided_again(conflicts: int) -> None:
    attempt = Attempt(conflicts)
    assert await until_no_conflict(attempt) == "recorded"
    assert attempt.calls == conflicts + 1


async def test_conflicts_without_end_are_given_up_and_counted() -> None:
    attempt = Attempt(ATTEMPTS_MAX + 1)
    with pytest.raises(VersionConflictError) as given_up:
        await until_no_conflict(attempt)
    assert attempt.calls == ATTEMPTS_MAX
    assert given_up.value.expected == ATTEMPTS_MAX
    assert str(ATTEMPTS_MAX) in given_up.value.__notes__[0]


async def test_any_other_error_goes_through_at_once() -> None:
    attempt = Attempt(1, UnavailableError("postgresql"))
    with pytest.raises(UnavailableError):
        await until_no_conflict(attempt)
    assert attempt.calls == 2


@pytest.mark.parametrize(("tries", "times"), [(1, 1), (2, 2), (5, 16)])
def test_the_delay_doubles(tries: int, times: int) -> None:
    usual = FIRST_DELAY_SECONDS * times
    assert all(0.8 * usual <= delay_after(tries) <= 1.2 * usual for _ in range(50))


def test_the_delay_has_a_bound_however_long_a_party_is_away() -> None:
    assert all(0.8 * LAST_DELAY_SECONDS <= delay_after(10**9) <= 1.2 * LAST_DELAY_SECONDS for _ in range(50))


def test_two_services_do_not_knock_at_the_same_time() -> None:
    assert len({delay_after(5) for _ in range(10)}) > 1

"""Doing a thing again: how soon, and how often."""

import asyncio

import pytest

from shared.errors import UnavailableError, VersionConflictError
from shared.facts.envelope import new_id
from shared.retrying import (
    ATTEMPTS_MAX,
    FIRST_DELAY_SECONDS,
    LAST_DELAY_SECONDS,
    delay_after,
    for_ever,
    until_it_answers,
    until_no_conflict,
)


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


class SeenEnoughError(Exception):
    """Ends what would go on for ever."""


class Step:
    """Meets these in turn, None being success, and notes how long it is waited for after an outage."""

    def __init__(self, *met: Exception | None) -> None:
        self.left = list(met)
        self.waited: list[float] = []

    async def __call__(self) -> str:
        met = self.left.pop(0)
        if met is not None:
            raise met
        return "done"

    async def wait(self, seconds: float) -> None:
        self.waited.append(seconds)


AWAY = UnavailableError("sftp", "no route")


async def test_an_outage_is_logged_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    step = Step(AWAY, AWAY, None)
    assert await until_it_answers(step, outage="collection.interrupted", pause=7, wait=step.wait) == "done"
    assert step.waited == [7, 7]
    assert [record.message for record in caplog.records] == ["collection.interrupted"] * 2
    assert vars(caplog.records[0])["reason"] == str(AWAY)


async def test_what_is_done_for_ever_ends_with_no_outage_and_begins_to_count_again() -> None:
    step = Step(AWAY, AWAY, None, AWAY, None, None, SeenEnoughError())
    with pytest.raises(SeenEnoughError):
        await for_ever(step, outage="x", pause=float, wait=step.wait)
    assert step.waited == [1, 2, 1]


async def test_an_outage_that_a_task_group_met_is_one_too() -> None:
    step = Step(AWAY, None)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(step())

    await until_it_answers(group, outage="x", wait=step.wait)
    assert len(step.waited) == 1


async def test_a_bug_beside_an_outage_goes_through() -> None:
    step = Step(ExceptionGroup("two", [AWAY, SeenEnoughError()]))
    with pytest.raises(ExceptionGroup) as left:
        await until_it_answers(step, outage="x", wait=step.wait)
    assert [type(one) for one in left.value.exceptions] == [SeenEnoughError]

"""Doing a thing again: how soon after a party did not answer, and how often when someone else appended first."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import VersionConflictError

ATTEMPTS_MAX = 20  # as many writers on one flux at once is a bug
FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 30.0
TRIES_BEFORE_NEWS = 3  # a blip is not news

T = TypeVar("T")


def delay_after(tries: int) -> float:
    """Return how many seconds to wait once a party did not answer so many times in a row: longer, up to a bound."""
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 20), LAST_DELAY_SECONDS)
    return delay * random.uniform(0.8, 1.2)  # noqa: S311  # so that services do not all knock at once


async def until_no_conflict(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what an attempt (load, decide, append) returns; made again at once each time someone appended first.

    Raises:
        VersionConflictError: that happened `ATTEMPTS_MAX` times in a row. A request is refused for it; for a message
            it is a bug.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            return await attempt()
        except VersionConflictError as error:
            conflict = error
    conflict.add_note(f"This was the version conflict no. {ATTEMPTS_MAX} in a row.")
    raise conflict

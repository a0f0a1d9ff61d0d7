"""Doing a thing again: for ever; after a party did not answer, and how soon; when someone else appended first."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

from shared.errors import UnavailableError, VersionConflictError

logger = logging.getLogger(__name__)

ATTEMPTS_MAX = 20  # as many writers on one flux at once is a bug
FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 30.0
TRIES_BEFORE_NEWS = 3  # a blip is not news
PAUSE_SECONDS = 0.5  # between an outage and the next try, where what waits is wanted at once

T = TypeVar("T")


def delay_after(tries: int) -> float:
    """Return how many seconds to wait once a party did not answer so many times in a row: longer, up to a bound."""
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 20), LAST_DELAY_SECONDS)
    return delay * random.uniform(0.8, 1.2)  # noqa: S311  # so that services do not all knock at once


async def until_it_answers(
    step: Callable[[], Awaitable[T]],
    *,
    outage: str,
    pause: float | Callable[[int], float] = PAUSE_SECONDS,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Return what a step returns, once no party that it needs is away; any other error goes through.

    Args:
        step: meets an outage as `UnavailableError`, alone or from a task group.
        outage: the name under which an outage is logged.
        pause: seconds from an outage to the next try; or how many, after so many outages in a row.
        wait: lets that time pass.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return await step()
        except* UnavailableError as away:
            delay = pause(tries) if callable(pause) else pause
            logger.warning(outage, extra={"reason": str(away.exceptions[0]), "delay_seconds": delay})
            await wait(delay)


async def for_ever(
    step: Callable[[], Awaitable[object]],
    *,
    outage: str,
    every_seconds: float = 0.0,
    pause: float | Callable[[int], float] = PAUSE_SECONDS,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Do a step again and again, `every_seconds` after it has ended; for the rest, see `until_it_answers`."""
    while True:
        await until_it_answers(step, outage=outage, pause=pause, wait=wait)
        await asyncio.sleep(every_seconds)


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

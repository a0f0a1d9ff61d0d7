"""Whom the handler of a message asks now, and since when: a party that froze is seen before its time limit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Asked:
    """The party being asked while one message is handled; empty while none is. `since` is on the monotonic clock."""

    party: str = ""
    since: float = 0.0

    def is_silent(self, seconds: float) -> bool:
        """Say whether the party has not answered for so long."""
        return bool(self.party) and time.monotonic() - self.since >= seconds


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def watched() -> Iterator[Asked]:
    """Watch whom the code inside asks."""
    asked = Asked()
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


@contextmanager
def asking(party: str) -> Iterator[None]:
    """Say that a party is being asked, until it answers; costs nothing when nobody watches."""
    asked = _asked.get()
    if asked is None:
        yield
        return
    before = (asked.party, asked.since)
    asked.party, asked.since = party, time.monotonic()
    try:
        yield
    finally:
        asked.party, asked.since = before

"""What is decided in a stream: load, decide, append; again if someone appended first.

For every stream but a flux's, which not everyone may see and whose facts all follow from its import: that is
`shared.web.deciding`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.streams import Stream
from shared.journal.history import History
from shared.retrying import until_no_conflict

Said = TypeVar("Said", bound=Fact)


@dataclass(frozen=True)
class Decided:
    """What was decided in a stream.

    Attributes:
        past: its events before.
        recorded: what was appended; nothing when it was done already.
    """

    past: Sequence[Event]
    recorded: Sequence[Event] = ()

    @property
    def events(self) -> list[Event]:
        """All its events, as it is now."""
        return [*self.past, *self.recorded]


async def decide_in(
    stream: Stream,
    decide: Callable[[Sequence[Fact]], Awaitable[Sequence[Fact]]],
    *,
    collectivite: str,
    actor: str,
    history: History,
    now: Callable[[], datetime],
) -> Decided:
    """Record what `decide` makes of the facts of a stream. Each time something begins: its first fact has no cause.

    `decide` may be asked again, each time of the stream as it is. Whether `actor` may decide was seen before.

    Raises:
        VersionConflictError: the stream moves faster than we can follow.
    """

    async def attempt() -> Decided:
        past = await history.load(stream.id)
        told: list[Event] = []
        for fact in await decide([event.data for event in past]):
            told.append(
                told[-1].follow(fact, actor=actor, at=now())
                if told
                else Event.first(
                    fact, stream=stream, collectivite=collectivite, actor=actor, correlation_id=new_id(), at=now()
                )
            )
        return Decided(past, await history.append(told, expected_version=len(past)) if told else ())

    return await until_no_conflict(attempt)


def last_word(events: Sequence[Event], of: type[Said], is_meant: Callable[[Said], bool]) -> tuple[Event, Said]:
    """Return the last event of a stream that says something, and what it says.

    Raises:
        StopIteration: none does; asked of what has just been decided, there is one.
    """
    return next((one, one.data) for one in reversed(events) if isinstance(one.data, of) and is_meant(one.data))

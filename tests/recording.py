"""How tests begin a stream: with one event that nothing led to."""

from datetime import UTC, datetime
from uuid import UUID

from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.streams import Stream, flux_stream

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


def begun(
    fact: Fact,
    *,
    stream: Stream | None = None,
    collectivite: str = "1",
    actor: str = "amina",
    correlation_id: UUID | None = None,
    at: datetime = NOON,
) -> Event:
    """Return the first event of a stream: of a new flux, unless another stream is given."""
    return Event.first(
        fact,
        stream=stream or flux_stream(new_id()),
        collectivite=collectivite,
        actor=actor,
        correlation_id=correlation_id or new_id(),
        at=at,
    )

"""What surrounds a fact: which flux, which version, who, when, and because of what.

An event *is* its bytes: the canonical JSON (RFC 8785) made here is what the journal stores, what Kafka carries and
what proofs will be made of. Nothing else ever serialises an event.
"""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from uuid_utils.compat import uuid7

from shared.errors import MalformedMessageError
from shared.facts.events import Fact, FluxFact

UNATTRIBUTED = "unattributed"  # the tenant of what cannot be attributed to a collectivité yet


def new_id() -> UUID:
    """Return a new uuid7: unique, and growing with time."""
    return UUID(int=uuid7().int)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(UTC)


UtcTime = Annotated[datetime, AfterValidator(_in_utc)]


class Event(BaseModel):
    """A fact in its envelope.

    Attributes:
        version: 1, 2, 3… in this flux; 0 until the journal has recorded it.
        collectivite: the tenant: the SIREN of the collectivité, or `UNATTRIBUTED`.
        actor: who did it: a user's or an API client's subject, a service's name, or `dgfip`.
        correlation_id: the same for everything that follows from one request.
        causation_id: the event that led to this one; none for what a person began.
        occurred_at: when it was decided, UTC, to the microsecond.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: UUID
    flux_id: UUID
    version: int = Field(ge=0)
    collectivite: str = Field(min_length=1, max_length=64)
    actor: str = Field(min_length=1, max_length=200)
    correlation_id: UUID
    causation_id: UUID | None = None
    occurred_at: UtcTime
    data: FluxFact

    @classmethod
    def first(
        cls, fact: Fact, *, flux_id: UUID, collectivite: str, actor: str, correlation_id: UUID, at: datetime
    ) -> Self:
        """Return an event that no other event led to."""
        return cls.model_validate(
            {
                "event_id": new_id(),
                "flux_id": flux_id,
                "version": 0,
                "collectivite": collectivite,
                "actor": actor,
                "correlation_id": correlation_id,
                "occurred_at": at,
                "data": fact,
            }
        )

    def follow(self, fact: Fact, *, actor: str, at: datetime) -> "Event":
        """Return an event of the same flux that this one led to."""
        return Event.model_validate(
            {
                "event_id": new_id(),
                "flux_id": self.flux_id,
                "version": 0,
                "collectivite": self.collectivite,
                "actor": actor,
                "correlation_id": self.correlation_id,
                "causation_id": self.event_id,
                "occurred_at": at,
                "data": fact,
            }
        )

    @property
    def kind(self) -> str:
        """The versioned kind of the fact inside: `flux.signed.v1`."""
        return self.data.kind

    def to_bytes(self) -> bytes:
        """Return the event as canonical JSON (RFC 8785), UTF-8. `kind` stands in the envelope, once."""
        fields = self.model_dump(mode="json")
        fields["occurred_at"] = format_time(self.occurred_at)
        fields["kind"] = fields["data"].pop("kind")
        return rfc8785.dumps(fields)


def format_time(moment: datetime) -> str:
    """Write a time the one way we write times: UTC, six decimals, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Wire(BaseModel):
    """An event as it stands in JSON: the kind is in the envelope."""

    model_config = ConfigDict(extra="allow")

    kind: str
    data: dict[str, object]


def read_event(body: bytes | str) -> Event:
    """Read an event back from its canonical JSON.

    Raises:
        MalformedMessageError: not JSON, a field is missing or has the wrong shape, or the kind is not known here.
    """
    try:
        wire = _Wire.model_validate_json(body)
        return Event.model_validate({**(wire.model_extra or {}), "data": {**wire.data, "kind": wire.kind}})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole message"
        raise MalformedMessageError(f"not an event we can read: {place}: {first['msg']}") from error

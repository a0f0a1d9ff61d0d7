"""What surrounds a fact: which stream, which version, who, when, and because of what.

An event *is* its bytes: the canonical JSON (RFC 8785) made here is what the journal stores, what Kafka carries and
what proofs will be made of. Nothing else ever serialises an event.
"""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from uuid_utils.compat import uuid7

from shared.errors import MalformedMessageError, NewerFactError
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import ReplyReceived, ReplyUnmatched
from shared.facts.streams import BY_KIND, FACTS_OF, Stream, StreamKind


def new_id() -> UUID:
    """Return a new uuid7: unique, and growing with time."""
    return UUID(int=uuid7().int)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(UTC)


ACTOR_CHARACTERS_MAX = 255  # what a `sub` may have (OpenID Connect Core 1.0, 2)

UtcTime = Annotated[datetime, AfterValidator(_in_utc)]


class Event(BaseModel):
    """A fact in its envelope.

    Attributes:
        stream: what it is about.
        version: 1, 2, 3… in this stream; 0 until the journal has recorded it.
        collectivite: the tenant: the SIREN of the collectivité, or see `shared.facts.streams`.
        actor: who did it: a user's or an API client's subject, a service's name, or `dgfip`.
        correlation_id: the same for everything that follows from one request.
        causation_id: the event that led to this one; none for what a person began.
        occurred_at: when it was decided, UTC, to the microsecond.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    event_id: UUID
    stream: Stream
    version: int = Field(ge=0)
    collectivite: str = Field(min_length=1, max_length=64)
    actor: str = Field(min_length=1, max_length=ACTOR_CHARACTERS_MAX)
    correlation_id: UUID
    causation_id: UUID | None = None
    occurred_at: UtcTime
    data: SerializeAsAny[Fact]

    @model_validator(mode="after")
    def _is_of_its_stream(self) -> Self:
        if type(self.data) not in FACTS_OF[self.stream.kind]:
            raise ValueError(f"{self.data.kind} is no fact of a stream of kind {self.stream.kind}")
        return self

    @classmethod
    def first(
        cls, fact: Fact, *, stream: Stream, collectivite: str, actor: str, correlation_id: UUID, at: datetime
    ) -> Self:
        """Return an event that no other event led to."""
        return cls(
            event_id=new_id(),
            stream=stream,
            version=0,
            collectivite=collectivite,
            actor=actor,
            correlation_id=correlation_id,
            occurred_at=at,
            data=fact,
        )

    def follow(self, fact: Fact, *, actor: str, at: datetime) -> Self:
        """Return an event of the same stream that this one led to."""
        return type(self)(
            event_id=new_id(),
            stream=self.stream,
            version=0,
            collectivite=self.collectivite,
            actor=actor,
            correlation_id=self.correlation_id,
            causation_id=self.event_id,
            occurred_at=at,
            data=fact,
        )

    @property
    def stream_id(self) -> UUID:
        """The id of the stream."""
        return self.stream.id

    @property
    def flux_id(self) -> UUID:
        """The id of the flux, of which the stream is."""
        return self.stream.id

    @property
    def kind(self) -> str:
        """The versioned kind of the fact inside: `flux.signed.v1`."""
        return self.data.kind

    def to_bytes(self) -> bytes:
        """Return the event as canonical JSON (RFC 8785), UTF-8. `kind` stands in the envelope, once.

        A flux names itself by `flux_id`, as when there was no other kind of stream; the others say what they are.
        """
        fields = self.model_dump(mode="json", exclude={"stream"})
        if self.stream.kind is StreamKind.FLUX:
            fields["flux_id"] = str(self.stream.id)
        else:
            fields |= {"stream": self.stream.kind, "stream_id": str(self.stream.id)}
        fields["occurred_at"] = format_time(self.occurred_at)
        fields["kind"] = fields["data"].pop("kind")
        return rfc8785.dumps(fields)


def format_time(moment: datetime) -> str:
    """Write a time the one way we write times: UTC, six decimals, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Wire(BaseModel):
    """An event as it stands in JSON: the kind is in the envelope, the stream in one of two ways."""

    model_config = ConfigDict(extra="allow")

    kind: str
    version: int
    data: dict[str, object]
    flux_id: UUID | None = None
    stream: str = StreamKind.FLUX
    stream_id: UUID | None = None


def read_event(body: bytes | str) -> Event:
    """Read an event back from its canonical JSON.

    Raises:
        NewerFactError: it is in an envelope, but what it says is not known here: a newer version has written it.
        MalformedMessageError: it is in no envelope: not JSON, or what every event has is missing.
    """
    try:
        wire = _Wire.model_validate_json(body)
    except ValidationError as error:
        raise MalformedMessageError(_fault_of(error)) from error
    if wire.kind not in BY_KIND or wire.stream not in FACTS_OF:
        raise NewerFactError(
            wire.kind, f"not an event we can read: {wire.kind[:100]!r} is no kind of fact that this version knows"
        )
    try:
        fact = BY_KIND[wire.kind].model_validate({**wire.data, "kind": wire.kind})
        return Event.model_validate(
            {**(wire.model_extra or {}), "stream": _stream_of(wire), "version": wire.version, "data": fact}
        )
    except ValidationError as error:
        raise NewerFactError(wire.kind, _fault_of(error)) from error


def _fault_of(error: ValidationError) -> str:
    """Name the place of the first fault, never what is there."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole message"
    return f"not an event we can read: {place}: {first['msg']}"


def _stream_of(wire: _Wire) -> dict[str, object]:
    """Return the stream of an event. What DGFiP sent for no flux once lay in a stream that called itself a flux's."""
    is_old_reply = wire.flux_id is not None and (
        wire.kind == kind_of(ReplyUnmatched) or (wire.kind == kind_of(ReplyReceived) and wire.version == 1)
    )
    kind = StreamKind.REPLY if is_old_reply else wire.stream
    name, stream_id = ("flux_id", wire.flux_id) if wire.stream == StreamKind.FLUX else ("stream_id", wire.stream_id)
    if stream_id is None:
        raise MalformedMessageError(f"not an event we can read: {name}: it is missing")
    return {"kind": kind, "id": stream_id}

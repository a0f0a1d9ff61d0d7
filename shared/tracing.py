"""Traces (OpenTelemetry): what a flux went through, as spans. `shared.runtime.exporting` turns them on.

Theory of operation. Whoever holds an event knows where it stands in its trace: the trace id *is* the correlation id
(a UUID has the 128 bits of one), and the span in which the event was recorded has the end of the event id as its own
id. Nothing of it is stored or carried; `traceparent`, for others, says the same.

| span                    | where it stands                                                                    |
|-------------------------|------------------------------------------------------------------------------------|
| a request               | the first of a trace of its own; the flux that it imports goes on in it            |
| a fact recorded         | under what is being done, if of its trace; else under its cause, and linked to it  |
| a message handled       | under the fact recorded                                                            |
| a statement, a transfer | under what is being done; none while that is nothing (loops that look for work)    |

Attributes are ids, kinds, counts: never a value of a statement, a name, or what an error says.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.facts.envelope import Event

_SPAN_BITS: Final = (1 << 64) - 1
_OFF: Final = nullcontext(INVALID_SPAN)


class Tracing:
    """The tracer of this process, and what sends the last spans; none while traces are off: then nothing is done."""

    tracer: Tracer | None = None
    flush: Callable[[], None] | None = None


def stop() -> None:
    """Trace no more, once what was traced is sent, or the time for it is over."""
    flush, Tracing.tracer, Tracing.flush = Tracing.flush, None, None
    if flush is not None:
        flush()


@dataclass(frozen=True)
class Ids:
    """The ids that the next span must have; 0 leaves the choice."""

    trace_id: int = 0
    span_id: int = 0


prepared: ContextVar[Ids] = ContextVar("prepared", default=Ids())  # noqa: B039  # frozen
_in_hand: ContextVar[UUID | None] = ContextVar("in_hand", default=None)  # the event that is being handled


def span_id_of(event_id: UUID) -> int:
    """Return the id of the span in which an event was recorded."""
    return event_id.int & _SPAN_BITS


def traceparent_of(event: Event) -> str:
    """Return where an event stands, as others read it (W3C Trace Context)."""
    return f"00-{event.correlation_id.hex}-{span_id_of(event.event_id):016x}-01"


def request(request_id: UUID, traceparent: str) -> AbstractContextManager[Span]:
    """Trace a request that is being answered.

    Args:
        request_id: becomes the trace id.
        traceparent: where the caller says they stand; it is linked to, and never believed further.
    """
    if Tracing.tracer is None:
        return _OFF
    said = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    theirs = get_current_span(said).get_span_context()
    return _within(
        "request",
        SpanKind.SERVER,
        context=Context(),
        ids=Ids(trace_id=request_id.int),
        links=[Link(theirs)] if theirs.is_valid else [],
    )


@contextmanager
def handling(event: Event) -> Iterator[None]:
    """Trace the handling of an event."""
    if Tracing.tracer is None:
        yield
        return
    token = _in_hand.set(event.event_id)
    try:
        with _within(
            f"handle {event.kind}",
            SpanKind.CONSUMER,
            context=_under(event.correlation_id, event.event_id),
            attributes=_attributes_of(event),
        ):
            yield
    finally:
        _in_hand.reset(token)


def recorded(events: Sequence[Event], *, seconds: float) -> None:
    """Trace that events have just been recorded, which took so long."""
    if Tracing.tracer is None:
        return
    ended = time.time_ns()
    here = get_current_span().get_span_context()
    for event in events:
        is_here = here.is_valid and here.trace_id == event.correlation_id.int
        span = _start(
            f"record {event.kind}",
            SpanKind.INTERNAL,
            context=None if is_here else _under_its_cause(event),
            attributes=_attributes_of(event),
            ids=Ids(event.correlation_id.int, span_id_of(event.event_id)),
            links=[Link(here)] if here.is_valid and not is_here else [],
            start_time=ended - int(seconds * 1e9),
        )
        span.end(ended)


def step(name: str, attributes: Mapping[str, str | int] | None = None) -> AbstractContextManager[Span]:
    """Trace a call of another party, as a part of what is being done."""
    if Tracing.tracer is None or not get_current_span().get_span_context().is_valid:
        return _OFF
    return _within(name, SpanKind.CLIENT, attributes=attributes)


@contextmanager
def _within(
    name: str,
    kind: SpanKind,
    *,
    context: Context | None = None,
    attributes: Mapping[str, str | int] | None = None,
    ids: Ids = Ids(),
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    """Be in a span; an error that passes gives it its name, not its words."""
    span = _start(name, kind, context=context, attributes=attributes, ids=ids, links=links)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _start(
    name: str,
    kind: SpanKind,
    *,
    context: Context | None,
    attributes: Mapping[str, str | int] | None,
    ids: Ids,
    links: Sequence[Link],
    start_time: int | None = None,
) -> Span:
    if Tracing.tracer is None:  # turned off since
        return INVALID_SPAN
    token = prepared.set(ids)
    try:
        return Tracing.tracer.start_span(
            name, context, kind, attributes=attributes, links=links, start_time=start_time
        )
    finally:
        prepared.reset(token)


def _under(trace_id: UUID, event_id: UUID) -> Context:
    """Return the place under the span in which an event was recorded."""
    recorded_in = SpanContext(
        trace_id.int, span_id_of(event_id), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(recorded_in), Context())


def _under_its_cause(event: Event) -> Context:
    """Return the place under an event's cause; the first of its trace when it has none there.

    What is in hand is of another trace then, or the event would be under it; it is linked to.
    """
    if event.causation_id is None or event.causation_id == _in_hand.get():
        return Context()
    return _under(event.correlation_id, event.causation_id)


def _attributes_of(event: Event) -> dict[str, str | int]:
    return {
        f"heliotrope.{event.stream.kind}_id": str(event.stream_id),
        "heliotrope.collectivite": event.collectivite,
        "heliotrope.kind": event.kind,
        "heliotrope.version": event.version,
    }

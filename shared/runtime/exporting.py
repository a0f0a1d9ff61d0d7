"""Sends the traces of this process to a collector (OTLP over HTTP), from a thread that nobody waits for.

Only loaded where `OTLP_ENDPOINT` is set. A collector that is away costs its spans, and nothing else.
"""

import logging
from collections.abc import Sequence
from threading import Thread
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared.tracing import Tracing, prepared

logger = logging.getLogger(__name__)

PATH: Final = "/v1/traces"
EXPORT_SECONDS_MAX: Final = 5.0
FLUSH_SECONDS_MAX: Final = 2.0
DELAY_MILLISECONDS: Final = 1000  # from the end of a span to its sending
SPANS_KEPT_MAX: Final = 8192  # while the collector is slow; the oldest are lost then


class PreparedIds(RandomIdGenerator):
    """Gives a span the ids that were prepared for it, else random ones."""

    def generate_span_id(self) -> int:
        """Return the id of the next span."""
        return prepared.get().span_id or super().generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the id of the next trace."""
        return prepared.get().trace_id or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Say that it need not be: a correlation id begins with a time."""
        return False


class QuietExporter(SpanExporter):
    """Says once that spans do not arrive, and once that they do again; the library would at each try."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Send with this one; nobody has been away yet."""
        self._exporter = exporter
        self.is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that do not arrive are lost."""
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self.is_away:
            logger.warning("traces.not_sent", extra={"spans": len(spans)})
        elif self.is_away and not is_away:
            logger.info("traces.sent_again")
        self.is_away = is_away
        return result

    def shutdown(self) -> None:
        """Stop sending."""
        self._exporter.shutdown()


def provider_of(service: str) -> TracerProvider:
    """Return what makes the spans of a service; where they go is added to it."""
    resource = Resource.create({"service.name": service, "service.namespace": "heliotrope"})
    return TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=PreparedIds(), shutdown_on_exit=False)


def start_traces(service: str, endpoint: str) -> None:
    """Trace what this process does, for a collector, until `shared.tracing.stop`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # see `QuietExporter`
    address = endpoint.rstrip("/").removesuffix(PATH) + PATH
    exporter = QuietExporter(OTLPSpanExporter(endpoint=address, timeout=EXPORT_SECONDS_MAX))
    provider = provider_of(service)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=SPANS_KEPT_MAX, schedule_delay_millis=DELAY_MILLISECONDS)
    )

    def flush() -> None:
        sending = Thread(target=provider.shutdown, daemon=True)  # which would take up to 30 seconds
        sending.start()
        sending.join(0 if exporter.is_away else FLUSH_SECONDS_MAX)

    Tracing.tracer, Tracing.flush = provider.get_tracer("heliotrope"), flush

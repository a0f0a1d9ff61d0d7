"""Traces in tests: spans kept in memory, or received as a collector does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.runtime.exporting import provider_of
from shared.tracing import Tracing, stop


@dataclass
class Kept:
    """The spans that have ended."""

    exporter: InMemorySpanExporter

    def named(self, name: str) -> ReadableSpan:
        """Return the one span of that name."""
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def all(self) -> tuple[ReadableSpan, ...]:
        """Return every span."""
        return self.exporter.get_finished_spans()


@contextmanager
def kept_spans(service: str = "tests") -> Iterator[Kept]:
    """Trace what happens meanwhile, and keep the spans."""
    exporter = InMemorySpanExporter()
    provider = provider_of(service)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Tracing.tracer = provider.get_tracer("tests")
    try:
        yield Kept(exporter)
    finally:
        stop()


@dataclass(frozen=True)
class Received:
    """A span as a collector has it; ids are hexadecimal, `parent` is empty for the first of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, str]


@dataclass
class Collector:
    """An OTLP/HTTP receiver on this machine."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    def spans(self) -> list[Received]:
        """Return every span received so far."""
        return [
            Received(
                service=next(
                    one.value.string_value for one in group.resource.attributes if one.key == "service.name"
                ),
                name=span.name,
                trace=span.trace_id.hex(),
                span=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                links=tuple(link.trace_id.hex() for link in span.links),
                attributes={one.key: str(one.value) for one in span.attributes},
            )
            for request in list(self.requests)
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting(*, answers: bool = True) -> Iterator[Collector]:
    """Receive spans; a collector that does not answer takes them and says nothing until it is closed."""
    closed = Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # as the library calls it
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            if not answers:
                closed.wait()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield collector
        finally:
            closed.set()
            server.shutdown()

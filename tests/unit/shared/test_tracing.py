"""Where each span stands: it follows from the events, and nothing is stored for it."""

import logging
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from shared import tracing
from shared.bus.consumer import Attempts, Subscription
from shared.errors import UnavailableError
from shared.facts.envelope import Event, new_id
from shared.facts.flux import FluxImported
from shared.facts.streams import reply_stream
from shared.journal.postgres import name_of
from shared.runtime.exporting import QuietExporter
from tests import examples as an
from tests.recording import NOON, begun
from tests.tracing import kept_spans

IMPORTED = begun(an.imported)


def end_of(event_id: UUID) -> int:
    return int(event_id.hex[16:], 16)


def test_the_span_of_a_fact_has_the_ids_of_its_event() -> None:
    with kept_spans() as spans:
        tracing.recorded([IMPORTED], seconds=0.25)
    span = spans.named("record flux.imported.v1")
    assert span.context.trace_id == IMPORTED.correlation_id.int
    assert span.context.span_id == end_of(IMPORTED.event_id)
    assert span.parent is None
    assert (span.end_time or 0) - (span.start_time or 0) == 250_000_000


def test_what_others_read_names_the_same_span() -> None:
    with kept_spans() as spans:
        tracing.recorded([IMPORTED], seconds=0)
    context = spans.named("record flux.imported.v1").context
    assert tracing.traceparent_of(IMPORTED) == f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


async def test_a_message_is_handled_under_the_fact_that_was_recorded_and_records_under_itself() -> None:
    following: list[Event] = []

    async def on_imported(event: Event, _: FluxImported) -> None:
        following.append(event.follow(an.validated, actor="validation", at=NOON))
        tracing.recorded(following, seconds=0)

    with kept_spans() as spans:
        await Attempts(Subscription("validation", {FluxImported: on_imported})).attempt(1, IMPORTED.to_bytes())
    handled, recorded = spans.named("handle flux.imported.v1"), spans.named("record flux.validated.v1")
    assert handled.kind is SpanKind.CONSUMER
    assert handled.parent is not None
    assert (handled.parent.trace_id, handled.parent.span_id) == (
        IMPORTED.correlation_id.int,
        end_of(IMPORTED.event_id),
    )
    assert recorded.parent == handled.context
    assert recorded.context.span_id == end_of(following[0].event_id)
    assert recorded.links == ()


async def test_a_message_that_waits_says_in_its_span_what_kind_of_error_it_met_and_not_its_words() -> None:
    async def on_imported(_: Event, __: FluxImported) -> None:
        raise UnavailableError("sftp", "Amina's file")

    with kept_spans() as spans:
        await Attempts(Subscription("validation", {FluxImported: on_imported})).attempt(1, IMPORTED.to_bytes())
    handled = spans.named("handle flux.imported.v1")
    assert handled.status.description == "UnavailableError"
    assert "Amina" not in handled.to_json()


def test_what_a_person_records_on_a_flux_stands_under_its_cause_and_is_linked_to_their_request() -> None:
    cancelled = IMPORTED.follow(an.cancelled, actor="amina", at=NOON)
    with kept_spans() as spans, tracing.request(new_id(), ""):
        tracing.recorded([cancelled], seconds=0)
    recorded, request = spans.named("record flux.cancelled.v1"), spans.named("request")
    assert recorded.context.trace_id == IMPORTED.correlation_id.int
    assert recorded.parent is not None
    assert recorded.parent.span_id == end_of(IMPORTED.event_id)
    assert [link.context for link in recorded.links] == [request.context]


def test_what_a_request_begins_stands_under_it() -> None:
    request_id = new_id()
    with kept_spans() as spans, tracing.request(request_id, ""):
        tracing.recorded([begun(an.imported, correlation_id=request_id)], seconds=0)
    request = spans.named("request")
    assert (request.context.trace_id, request.parent) == (request_id.int, None)
    assert spans.named("record flux.imported.v1").parent == request.context


async def test_what_another_stream_s_message_causes_is_the_first_of_its_trace_and_linked() -> None:
    linked = begun(an.linked, stream=reply_stream(new_id()))
    past = begun(an.imported)
    caused = past.follow(an.acknowledged, actor="amina", at=NOON)
    caused = caused.model_copy(update={"causation_id": linked.event_id})
    with kept_spans() as spans, tracing.handling(linked):
        tracing.recorded([caused], seconds=0)
    recorded, handled = spans.named("record flux.acknowledged.v1"), spans.named(f"handle {linked.kind}")
    assert recorded.context.trace_id == past.correlation_id.int
    assert recorded.parent is None
    assert [link.context for link in recorded.links] == [handled.context]


@pytest.mark.parametrize(
    ("said", "links"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", [0x0AF7651916CD43DD8448EB211C80319C]),
        ("", []),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", []),
        ("nonsense", []),
    ],
)
def test_where_a_caller_says_they_stand_is_linked_to_and_never_believed(said: str, links: list[int]) -> None:
    request_id = new_id()
    with kept_spans() as spans, tracing.request(request_id, said):
        pass
    request = spans.named("request")
    assert (request.context.trace_id, request.parent) == (request_id.int, None)
    assert [link.context.trace_id for link in request.links] == links


def test_a_step_is_a_part_of_what_is_being_done_and_loops_that_look_for_work_leave_none() -> None:
    with kept_spans() as spans:
        with tracing.step("select journal"):
            pass
        with tracing.handling(IMPORTED), tracing.step("sftp put"):
            pass
    assert sorted(span.name for span in spans.all()) == ["handle flux.imported.v1", "sftp put"]
    assert spans.named("sftp put").parent == spans.named("handle flux.imported.v1").context


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    with kept_spans() as spans:
        pass
    with tracing.request(new_id(), ""), tracing.handling(IMPORTED), tracing.step("select journal"):
        tracing.recorded([IMPORTED], seconds=0)
    assert spans.all() == ()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("select body from journal where stream_id = $1", "select journal"),
        ("\nwith one as (select 1 from x) insert into journal (a) select one.a from one", "insert into journal"),
        ("UPDATE parked SET released_at = $1", "update parked"),
        ("delete from reservation where value = $1", "delete from reservation"),
        ("select coalesce(max(index), (select 1)) as index from journal_order", "select journal_order"),
        ("select pg_notify($1, '')", "select"),
        ("notify journal", "statement"),
    ],
)
def test_a_statement_is_named_by_what_it_does_and_to_which_table(query: str, name: str) -> None:
    assert name_of(query) == name


class Failing(SpanExporter):
    """Sends, or not."""

    result = SpanExportResult.FAILURE

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
        return self.result


def test_a_collector_that_is_away_is_told_once_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    failing = Failing()
    exporter = QuietExporter(failing)
    for result in (SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS):
        failing.result = result
        exporter.export([])
    assert [record.message for record in caplog.records] == ["traces.not_sent", "traces.sent_again"]

"""Traces on their way to a collector: one that is there, one that never answers, one that is away."""

import time
from uuid import UUID

import pytest

from shared import tracing
from shared.runtime.exporting import start_traces
from tests import examples as an
from tests.real.platform import until
from tests.recording import begun
from tests.tracing import collecting

IMPORTED = begun(an.imported)
NOBODY = "http://127.0.0.1:9"


def test_spans_are_sent_to_the_collector_at_the_latest_when_the_service_stops() -> None:
    with collecting() as collector:
        start_traces("ingest", collector.url)
        tracing.recorded([IMPORTED], seconds=0)
        tracing.stop()
        (span,) = collector.spans()
    assert (span.service, span.name) == ("ingest", "record flux.imported.v1")
    assert UUID(span.trace) == IMPORTED.correlation_id


def test_a_collector_that_takes_and_never_answers_does_not_keep_a_service_from_stopping() -> None:
    with collecting(answers=False) as collector:
        start_traces("ingest", collector.url)
        tracing.recorded([IMPORTED], seconds=0)
        tracing.stop()  # comes back, while the collector still holds the request
        assert collector.spans()


def test_a_collector_that_is_not_there_is_said_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[str]:
        return [record.message for record in caplog.records]

    start_traces("ingest", NOBODY)
    tracing.recorded([IMPORTED], seconds=0)
    until(told, 60)
    tracing.recorded([IMPORTED], seconds=0)
    time.sleep(2)  # it is tried again meanwhile
    tracing.stop()
    assert told() == ["traces.not_sent"]

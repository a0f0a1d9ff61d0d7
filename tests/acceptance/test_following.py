"""A flux can be followed through all services: in their logs, and as one trace."""

import json
from collections.abc import Iterator
from itertools import count
from operator import itemgetter
from uuid import UUID

import pytest

from local.ports import SERVICES
from tests.real.folders import lasting_folder
from tests.real.platform import COLLECTIVITE, RunningPlatform, run_platform, sample, until
from tests.tracing import Collector, Received, collecting

NUMBERS = count(40_000)
IN_THIS_ORDER = [
    ("ingest", "flux.imported.v1"),
    ("validation", "flux.validated.v1"),
    ("signature", "signature.requested.v1"),
    ("signature", "flux.signed.v1"),
    ("gateway", "transmission.attempted.v1"),
    ("ack", "flux.acknowledged.v1"),
]


def acknowledged(platform: RunningPlatform) -> str:
    """Return a flux whose life is over."""
    flux_id = platform.send_until_taken(sample(next(NUMBERS)), "")
    platform.wait_for(flux_id, "acknowledged")
    return flux_id


# --- Logs --------------------------------------------------------------------------------------------------------


def test_the_whole_life_of_a_flux_is_told_by_every_service_in_order(platform: RunningPlatform) -> None:
    flux_id = acknowledged(platform)

    done = platform.heliotrope("logs", flux_id, "--json")

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    recorded = [line for line in lines if line["event"] == "fact.recorded"]
    facts = [(line["service"], line["kind"]) for line in recorded]
    assert [fact for fact in facts if fact in IN_THIS_ORDER] == IN_THIS_ORDER
    assert [line["kind"] for line in sorted(recorded, key=itemgetter("version"))] == platform.kinds(flux_id)
    handled = {line["service"] for line in lines if line["event"] == "message.handled"}
    assert handled == {"validation", "signature", "gateway"}
    [posted] = [line for line in lines if line["event"] == "request.answered" and line["method"] == "POST"]
    assert (posted["service"], posted["path"], posted["status"]) == ("ingest", "/v1/flux", 202)
    assert {line["correlation_id"] for line in recorded} == {posted["correlation_id"]}
    assert {line["collectivite"] for line in recorded} == {COLLECTIVITE}
    assert all(line["duration_seconds"] >= 0 for line in lines)


def test_a_person_reads_the_same_as_a_table(platform: RunningPlatform) -> None:
    done = platform.heliotrope("logs", acknowledged(platform))
    for said in ("fait enregistré", "message traité", "demande répondue", "flux.signed.v1", "gateway", " ms"):
        assert said in done.stdout, said
    assert "Corrélation" in done.stderr


def private(platform: RunningPlatform) -> list[str]:
    """Return what was said to the platform and may not be told, once it was."""
    sent = platform.send(sample(next(NUMBERS)), **{"X-Filename": "Durand.xml"})
    flux = f"{platform.ports.url('history')}/v1/flux/{sent.json()['flux_id']}"
    platform.http.get(flux, params={"at": "2031-01-01T00:00:00Z"}).raise_for_status()
    platform.wait_for(sent.json()["flux_id"], "acknowledged")
    return [
        "Durand",
        "2031-01-01",
        platform.folder.token_file.read_text("ascii").strip(),
        "Bearer",
        "PES_Aller",
        "<?xml",
    ]


def test_no_log_holds_a_name_a_query_a_token_or_a_content(platform: RunningPlatform) -> None:
    secrets = private(platform)
    services = [platform.folder.logs / f"{name}.log" for name in SERVICES]
    written = "".join(path.read_text("utf-8") for path in services)
    assert "request.answered" in written
    assert [secret for secret in secrets if secret in written] == []


# --- Traces ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[RunningPlatform]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTLP_ENDPOINT", collector.url)
        with lasting_folder() as root, run_platform(root) as running:
            yield running


def test_the_whole_life_of_a_flux_is_one_trace_from_the_request_that_brought_it(
    traced: RunningPlatform, collector: Collector
) -> None:
    flux_id = acknowledged(traced)
    events = traced.http.get(f"{traced.ports.url('history')}/v1/flux/{flux_id}/events").json()["events"]
    trace = UUID(events[0]["correlation_id"]).hex
    of_facts = {event["kind"]: UUID(event["event_id"]).hex[16:] for event in events}

    def whole() -> dict[str, Received] | None:
        spans = {span.span: span for span in collector.spans() if span.trace == trace}
        is_whole = {*of_facts.values(), *(span.parent for span in spans.values())} <= {*spans, ""}
        return spans if is_whole else None

    spans = until(whole, 30)

    def way_up(kind: str) -> list[tuple[str, str]]:
        """Return where the recording of a fact stands: itself, what it is under, and so on up."""
        above: list[tuple[str, str]] = []
        span = spans.get(of_facts[kind])
        while span is not None:
            above.append((span.service, span.name))
            span = spans.get(span.parent)
        return above

    until_signed = [
        ("signature", "record flux.signed.v1"),
        ("signature", "handle flux.validated.v1"),
        ("validation", "record flux.validated.v1"),
        ("validation", "handle flux.imported.v1"),
        ("ingest", "record flux.imported.v1"),
        ("ingest", "POST /v1/flux"),
    ]
    assert way_up("flux.signed.v1") == until_signed
    attempted = [("gateway", "record transmission.attempted.v1"), ("gateway", "handle flux.signed.v1"), *until_signed]
    assert way_up("transmission.attempted.v1") == attempted
    answered = way_up("flux.acknowledged.v1")
    assert answered[:2] == [("ack", "record flux.acknowledged.v1"), ("ack", "record reply.received.v1")]
    assert (
        answered[3:] == attempted[1:]
    )  # under what was recorded last: an answer may come before the end of a sending
    assert [span.name for span in spans.values() if not span.parent] == ["POST /v1/flux"]
    assert {("gateway", "sftp put"), ("signature", "insert into journal")} <= {
        (span.service, span.name) for span in spans.values()
    }


def test_no_trace_holds_a_name_a_query_a_token_or_a_content(traced: RunningPlatform, collector: Collector) -> None:
    secrets = private(traced)
    acknowledged(traced)
    until(lambda: [span for span in collector.spans() if span.name == "record flux.acknowledged.v1"][1:], 30)
    told = "".join(map(str, collector.requests))
    assert [secret for secret in secrets if secret in told] == []

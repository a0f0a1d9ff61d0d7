"""What becomes of one attempt at a message: the one place where an error turns into what a consumer does."""

import json
import logging
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from shared.asking import asking
from shared.bus import consumer
from shared.bus.consumer import (
    Attempts,
    Outcome,
    Subscription,
)
from shared.errors import MalformedMessageError, UnavailableError, UnexpectedFactError, VersionConflictError
from shared.facts.envelope import Event, new_id
from shared.facts.flux import FluxImported, FluxValidated
from shared.facts.lifecycles.flux import fold
from shared.logs import JsonFormatter
from shared.retrying import ATTEMPTS_MAX, FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS
from tests import examples as an
from tests.recording import begun

EVENT = begun(an.imported, collectivite=an.collectivite, at=datetime(2026, 2, 2, tzinfo=UTC))
BODY = EVENT.to_bytes()


class Handler:
    """Fails as it is told to, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self, event: Event, imported: FluxImported) -> None:
        assert event.data == imported
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


def attempts_with(handler: Handler, group: str = "validation") -> Attempts:
    return Attempts(Subscription(group, {FluxImported: handler}))


def measured(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def logged() -> dict[str, str]:
    """Return a line of the log as it would be written now."""
    line = JsonFormatter("validation").format(logging.makeLogRecord({"msg": "flux.validated"}))
    fields: dict[str, str] = json.loads(line)
    return fields


def test_a_subscription_listens_to_the_kinds_it_can_handle() -> None:
    handler = Handler()
    kinds = Subscription("x", {FluxImported: handler, FluxValidated: handler}).kinds
    assert kinds == {"flux.imported.v1", "flux.validated.v1"}


async def test_a_message_that_is_handled_is_done() -> None:
    attempt = await attempts_with(Handler()).attempt(1, BODY)
    assert attempt.outcome is Outcome.DONE


async def test_after_a_conflict_the_handler_decides_again_at_once() -> None:
    handler = Handler(VersionConflictError(new_id(), 1), VersionConflictError(new_id(), 2))
    assert (await attempts_with(handler).attempt(1, BODY)).outcome is Outcome.DONE
    assert handler.calls == 3


async def test_conflicts_without_end_are_a_bug() -> None:
    handler = Handler(*[VersionConflictError(new_id(), 1)] * ATTEMPTS_MAX)
    with pytest.raises(VersionConflictError):
        await attempts_with(handler).attempt(1, BODY)
    assert handler.calls == ATTEMPTS_MAX


async def test_what_is_logged_while_a_message_is_handled_names_its_flux_and_nothing_does_after() -> None:
    lines = []

    async def on_imported(_: Event, __: FluxImported) -> None:
        lines.append(logged())

    await Attempts(Subscription("validation", {FluxImported: on_imported})).attempt(1, BODY)
    (line,) = lines
    assert (line["flux_id"], line["correlation_id"]) == (str(EVENT.flux_id), str(EVENT.correlation_id))
    assert "flux_id" not in logged()


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[1]"])
async def test_a_message_that_cannot_be_read_is_parked_with_its_reason(body: bytes) -> None:
    handler = Handler()
    attempt = await attempts_with(handler).attempt(1, body)
    assert (attempt.outcome, attempt.awaits) == (Outcome.PARK, "")
    assert attempt.error
    assert handler.calls == 0


@pytest.mark.parametrize(
    ("written", "kind"),
    [(("imported.v1", "imported.v9"), "flux.imported.v9"), (('"size":', '"size":-'), "flux.imported.v1")],
    ids=["kind", "value"],
)
async def test_a_fact_that_a_newer_version_wrote_is_parked_until_one_reads_it(
    written: tuple[str, str], kind: str
) -> None:
    attempt = await attempts_with(Handler()).attempt(1, BODY.decode().replace(*written))
    assert (attempt.outcome, attempt.awaits) == (Outcome.PARK, kind)


async def test_a_stream_that_a_newer_version_continued_in_its_own_way_parks_its_message_and_stops_nobody() -> None:
    async def on_imported(_: Event, __: FluxImported) -> None:
        fold([an.imported, an.acknowledged])

    attempt = await Attempts(Subscription("gateway", {FluxImported: on_imported})).attempt(1, BODY)
    assert (attempt.outcome, "cannot follow" in attempt.error) == (Outcome.PARK, True)
    assert attempt.awaits == "flux.acknowledged.v1"


async def test_what_a_handler_decides_against_the_table_is_a_bug() -> None:
    async def on_imported(_: Event, __: FluxImported) -> None:
        fold([an.imported]).evolve(an.acknowledged)

    with pytest.raises(UnexpectedFactError):
        await Attempts(Subscription("gateway", {FluxImported: on_imported})).attempt(1, BODY)


async def test_a_fact_that_the_group_does_not_listen_to_is_parked() -> None:
    attempt = await Attempts(Subscription("gateway", {})).attempt(1, BODY)
    assert (attempt.outcome, attempt.awaits) == (Outcome.PARK, "")
    assert "does not listen" in attempt.error


async def test_a_party_that_is_away_is_tried_again_ever_more_slowly_and_shown() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 12))
    for tries in range(12):
        attempt = await attempts.attempt(1, BODY)
        usual = min(FIRST_DELAY_SECONDS * 2**tries, LAST_DELAY_SECONDS)
        assert attempt.outcome is Outcome.RETRY
        assert 0.8 * usual <= attempt.delay_seconds <= 1.2 * usual
    assert attempts.waits_for() == ["sftp"]
    assert (await attempts.attempt(1, BODY)).outcome is Outcome.DONE
    assert attempts.waits_for() == []


def told_of(caplog: pytest.LogCaptureFixture, *names: str) -> list[object]:
    (record,) = caplog.records
    return [vars(record).get(name) for name in names]


async def test_a_message_that_is_handled_is_told_with_whose_it_is_and_how_long_it_took(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.setFormatter(JsonFormatter("validation"))
    caplog.set_level(logging.INFO)
    await attempts_with(Handler()).attempt(1, BODY)
    line = json.loads(caplog.text)
    assert (line["event"], line["kind"], line["service"]) == ("message.handled", EVENT.kind, "validation")
    assert (line["flux_id"], line["correlation_id"]) == (str(EVENT.flux_id), str(EVENT.correlation_id))
    assert (line["collectivite"], line["actor"]) == (EVENT.collectivite, EVENT.actor)
    assert line["duration_seconds"] >= 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "flux.blessed.v1"}, {"flux_id", "correlation_id"}),
        ({"version": "many"}, {"flux_id", "correlation_id"}),
        ({"flux_id": "Amina Durand"}, {"correlation_id"}),
        ({"flux_id": ["x"], "correlation_id": None}, set()),
    ],
)
async def test_a_message_that_cannot_be_read_is_parked_under_the_ids_that_can(
    change: dict[str, object], said: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(JsonFormatter("validation"))
    await attempts_with(Handler()).attempt(1, json.dumps({**json.loads(BODY), **change}))
    line = json.loads(caplog.text)
    assert line["event"] == "message.parked"
    known = {"flux_id": str(EVENT.flux_id), "correlation_id": str(EVENT.correlation_id)}
    assert {name: line[name] for name in known if name in line} == {name: known[name] for name in said}


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"\xff", b"[1]", b'"flux_id"'])
async def test_a_message_that_is_no_object_is_parked_without_any_id(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await attempts_with(Handler()).attempt(1, body)
    assert told_of(caplog, "message", "flux_id") == ["message.parked", None]


async def test_a_bug_is_told_with_its_flux_its_fact_and_what_to_do_and_never_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.setFormatter(JsonFormatter("validation"))
    with pytest.raises(KeyError):
        await attempts_with(Handler(KeyError("Amina Durand"))).attempt(1, BODY)
    line = json.loads(caplog.text)
    assert (line["event"], line["level"], line["error_type"]) == ("message.failed", "critical", "KeyError")
    assert (line["flux_id"], line["kind"], line["event_id"]) == (
        str(EVENT.flux_id),
        EVENT.kind,
        str(EVENT.event_id),
    )
    assert "signalez-le" in line["to_do"]
    assert "Durand" not in caplog.text


async def test_what_is_tried_again_is_told_with_its_reason_and_when(caplog: pytest.LogCaptureFixture) -> None:
    attempt = await attempts_with(Handler(UnavailableError("sftp", "refused"))).attempt(1, BODY)
    (record,) = caplog.records
    told = [vars(record)[name] for name in ("message", "reason", "tries", "delay_seconds", "kind")]
    assert told == [
        "message.retried",
        str(UnavailableError("sftp", "refused")),
        1,
        attempt.delay_seconds,
        EVENT.kind,
    ]


async def test_after_years_of_absence_the_delay_is_still_the_longest() -> None:
    attempts = attempts_with(Handler(UnavailableError("sftp")))
    attempts.retrying[1] = (10**9, "sftp")
    assert (await attempts.attempt(1, BODY)).delay_seconds >= 0.8 * LAST_DELAY_SECONDS


async def test_a_blip_is_not_news() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 3))
    for expected in ([], [], ["sftp"]):
        await attempts.attempt(1, BODY)
        assert attempts.waits_for() == expected


async def test_each_message_waits_for_its_own_party() -> None:
    parties = Handler(*[UnavailableError("sftp"), UnavailableError("documents")] * 3)
    attempts = attempts_with(parties)
    for _ in range(3):
        for key in (1, 2):
            await attempts.attempt(key, BODY)
    assert attempts.waits_for() == ["documents", "sftp"]
    await attempts.attempt(2, BODY)
    assert attempts.waits_for() == ["sftp"]


async def test_what_becomes_of_messages_is_counted() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 2), "counted")
    waiting = []
    for body in (BODY, BODY, BODY, b""):
        await attempts.attempt(1, body)
        waiting.append(measured("heliotrope_retrying", group="counted", party="sftp"))
    assert waiting == [1, 1, 0, 0]
    kind = EVENT.kind
    for kind_shown, outcome, count in ((kind, "done", 1), (kind, "retried", 2), ("", "parked", 1)):
        labels = {"group": "counted", "kind": kind_shown, "outcome": outcome}
        assert measured("heliotrope_messages_total", **labels) == count
    assert measured("heliotrope_parked_total", group="counted") == 1
    assert measured("heliotrope_handling_seconds_count", group="counted", kind=kind) == 1


async def test_a_message_that_waited_and_is_then_parked_waits_no_more() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 3, MalformedMessageError("x")))
    for _ in range(3):
        await attempts.attempt(1, BODY)
    assert (await attempts.attempt(1, BODY)).outcome is Outcome.PARK
    assert attempts.waits_for() == []


async def test_any_other_error_goes_through() -> None:
    with pytest.raises(KeyError):
        await attempts_with(Handler(KeyError("a bug"))).attempt(1, BODY)
    assert "flux_id" not in logged()


@pytest.mark.parametrize(("seconds", "seen"), [(0.0, ["sftp"]), (3_600.0, [])], ids=["silent", "answers soon"])
async def test_a_party_that_is_silent_is_told_before_its_time_limit(
    seconds: float, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "SILENT_SECONDS", seconds)
    told: list[list[str]] = []

    async def on_imported(_: Event, __: FluxImported) -> None:
        told.append(attempts.waits_for())
        with asking("sftp"):
            told.append(attempts.waits_for())
        told.append(attempts.waits_for())

    attempts = Attempts(Subscription("gateway", {FluxImported: on_imported}))
    await attempts.attempt(1, BODY)
    assert told == [[], seen, []]
    assert attempts.under_way == {}


async def test_a_message_that_failed_is_under_way_no_more() -> None:
    attempts = attempts_with(Handler(UnavailableError("sftp", "away")))
    await attempts.attempt(1, BODY)
    assert attempts.under_way == {}

"""What becomes of one attempt at a message: the one place where an error turns into what a consumer does."""

from datetime import UTC, datetime

import pytest

from shared.consumer import CONFLICTS_MAX, LAST_DELAY_SECONDS, Attempts, Outcome, Subscription
from shared.envelope import Event, new_id
from shared.errors import MalformedMessageError, UnavailableError, VersionConflictError
from shared.events import FluxImported
from tests import examples as an

BODY = Event.first(
    an.imported,
    flux_id=new_id(),
    collectivite=an.collectivite,
    actor="amina",
    correlation_id=new_id(),
    at=datetime(2026, 2, 2, tzinfo=UTC),
).to_bytes()


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


def attempts_with(handler: Handler) -> Attempts:
    return Attempts(Subscription("validation", {FluxImported: handler}))


async def test_a_message_that_is_handled_is_done() -> None:
    attempt = await attempts_with(Handler()).attempt(1, BODY)
    assert attempt.outcome is Outcome.DONE


async def test_after_a_conflict_the_handler_decides_again_at_once() -> None:
    handler = Handler(VersionConflictError(new_id(), 1), VersionConflictError(new_id(), 2))
    assert (await attempts_with(handler).attempt(1, BODY)).outcome is Outcome.DONE
    assert handler.calls == 3


async def test_conflicts_without_end_are_a_bug() -> None:
    handler = Handler(*[VersionConflictError(new_id(), 1)] * CONFLICTS_MAX)
    with pytest.raises(RuntimeError, match="version conflicts"):
        await attempts_with(handler).attempt(1, BODY)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[1]"])
async def test_a_message_that_cannot_be_read_is_parked_with_its_reason(body: bytes) -> None:
    handler = Handler()
    attempt = await attempts_with(handler).attempt(1, body)
    assert attempt.outcome is Outcome.PARK
    assert attempt.error
    assert handler.calls == 0


async def test_a_fact_that_the_group_does_not_listen_to_is_parked() -> None:
    attempt = await Attempts(Subscription("gateway", {})).attempt(1, BODY)
    assert attempt.outcome is Outcome.PARK
    assert "does not listen" in attempt.error


async def test_a_party_that_is_away_is_tried_again_ever_more_slowly_and_shown() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 12))
    delays = [(await attempts.attempt(1, BODY)).delay_seconds for _ in range(12)]
    assert delays[0] < delays[4] < delays[8]
    assert max(delays) <= LAST_DELAY_SECONDS * 1.2
    assert attempts.waits_for() == ["sftp"]
    assert (await attempts.attempt(1, BODY)).outcome is Outcome.DONE
    assert attempts.waits_for() == []


async def test_a_blip_is_not_news() -> None:
    attempts = attempts_with(Handler(UnavailableError("sftp")))
    await attempts.attempt(1, BODY)
    assert attempts.waits_for() == []


async def test_a_message_that_waited_and_is_then_parked_waits_no_more() -> None:
    attempts = attempts_with(Handler(*[UnavailableError("sftp")] * 3, MalformedMessageError("x")))
    for _ in range(3):
        await attempts.attempt(1, BODY)
    assert (await attempts.attempt(1, BODY)).outcome is Outcome.PARK
    assert attempts.waits_for() == []


async def test_any_other_error_goes_through() -> None:
    with pytest.raises(KeyError):
        await attempts_with(Handler(KeyError("a bug"))).attempt(1, BODY)

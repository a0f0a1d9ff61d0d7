"""Messages that cannot be read: set aside with their reason, listed, released; the same promises by both buses."""

import asyncio
from datetime import datetime
from uuid import UUID

from shared.bus.consumer import ParkedMessage
from shared.errors import MalformedMessageError, UnavailableError
from shared.facts.envelope import new_id
from shared.facts.events import FluxCancelled, FluxImported
from shared.journal.history import PostgresHistory
from tests import examples as an
from tests.stage import PATIENCE_SECONDS, Listener, Stage, document, running, until

GROUP = "validation"  # one that may park


async def test_a_message_that_cannot_be_read_is_parked_and_the_stream_goes_on(stage: Stage) -> None:
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(GROUP, FluxImported, FluxCancelled)):
        body = await stage.happen_unreadable()
        await stage.happen(an.imported, an.cancelled)
        await until(lambda: len(listener.heard) == 2)
        parked = await _parked(stage, body)
    assert (parked.group, parked.kind) == (GROUP, "flux.cancelled.v1")
    assert "not an event we can read" in parked.error
    assert datetime.fromisoformat(parked.parked_at).tzinfo is not None


async def test_what_is_released_comes_again_and_is_parked_again_if_it_must(stage: Stage) -> None:
    async with running(stage.bus(), Listener(stage).subscription(GROUP, FluxCancelled)):
        body = await stage.happen_unreadable()
        first = await _parked(stage, body)
        assert await stage.parked().release(first.parked_id)
        again = await _parked(stage, body, after=first.parked_at)
    assert (again.error, again.kind) == (first.error, first.kind)


async def test_what_is_released_is_heard_once_it_can_be_read_and_is_parked_no_more(stage: Stage) -> None:
    is_readable = False
    unreadable = MalformedMessageError("written by a newer version")
    listener = Listener(stage, fails=lambda _: None if is_readable else unreadable)
    async with running(stage.bus(), listener.subscription(GROUP)):
        flux = [await stage.happen(document(0))]
        parked = await _parked_fact(stage, flux[0])
        assert listener.heard == []
        is_readable = True
        assert await stage.parked().release(parked.parked_id)
        await until(lambda: bool(listener.heard))
        for number in (1, 2):
            flux.append(await stage.happen(document(number)))
            await until(lambda: {flux_id for flux_id, _ in listener.heard} == set(flux))
    assert [flux_id for flux_id, _ in listener.heard] == flux
    assert parked.parked_id not in {one.parked_id for one in await stage.parked().all()}


async def test_what_is_released_waits_for_a_party_that_is_away_like_any_other_message(stage: Stage) -> None:
    trouble: list[Exception] = [UnavailableError("sftp", "away"), MalformedMessageError("not to be read yet")]
    listener = Listener(stage, fails=lambda _: trouble.pop() if trouble else None)
    async with running(stage.bus(), listener.subscription(GROUP)):
        flux_id = await stage.happen(an.imported)
        assert await stage.parked().release((await _parked_fact(stage, flux_id)).parked_id)
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.imported.v1")]


async def test_what_is_not_parked_cannot_be_released(stage: Stage) -> None:
    assert not await stage.parked().release(str(new_id()))


async def _parked(stage: Stage, body: str, *, after: str = "") -> ParkedMessage:
    """Wait until a message is parked, and return it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for one in await stage.parked().all():
                if one.body == body and one.parked_at > after:
                    return one
            await asyncio.sleep(0.02)


async def _parked_fact(stage: Stage, flux_id: UUID) -> ParkedMessage:
    (recorded,) = await PostgresHistory(stage.database).load(flux_id)
    return await _parked(stage, recorded.to_bytes().decode())

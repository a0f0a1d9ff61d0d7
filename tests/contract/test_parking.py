"""Messages that cannot be read: set aside with their reason, listed, released; the same promises by both buses."""

import asyncio
from datetime import datetime
from uuid import UUID

import pytest

from shared.bus.consumer import ParkedMessage, Subscription
from shared.errors import MalformedMessageError, UnavailableError
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxCancelled, FluxImported
from shared.facts.streams import BY_KIND
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


async def test_a_message_of_a_kind_that_is_not_known_is_taken_up_by_the_version_that_knows_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = Listener(stage), Listener(stage)
    with monkeypatch.context() as before:
        before.delitem(BY_KIND, kind_of(FluxCancelled))
        async with running(stage.bus(), older.subscription(GROUP, FluxImported, FluxCancelled)):
            flux_id = await stage.happen(document(0), an.cancelled)
            other = await stage.happen(document(1), behind=flux_id)
            await until(lambda: len(older.heard) == 2)
            parked = await _parked(stage, await _body(stage, flux_id, 2))
    assert (parked.awaits, parked.kind) == ("flux.cancelled.v1", "flux.cancelled.v1")
    assert [heard for heard, _ in older.heard] == [flux_id, other]
    async with running(stage.bus(), newer.subscription(GROUP, FluxImported, FluxCancelled)):
        await until(lambda: bool(newer.heard))
        last = await stage.happen(document(2), behind=flux_id)
        await until(lambda: len(newer.heard) >= 2)
    assert newer.heard == [(flux_id, "flux.cancelled.v1"), (last, "flux.imported.v1")]
    assert parked.parked_id not in {one.parked_id for one in await stage.parked().all()}


async def test_a_message_whose_handler_meets_a_kind_that_is_not_known_is_taken_up_likewise(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = PostgresHistory(stage.database)
    heard: list[UUID] = []

    async def on_imported(event: Event, _: Fact) -> None:
        if event.flux_id in stage.flux:
            await history.load(event.flux_id)
            heard.append(event.flux_id)

    subscription = Subscription(GROUP, {FluxImported: on_imported})
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(FluxCancelled))
        async with running(stage.bus(), subscription):
            flux_id = await stage.happen(document(0), an.cancelled)
            other = await stage.happen(document(1), behind=flux_id)
            await until(lambda: heard == [other])
            parked = await _parked(stage, await _body(stage, flux_id, 1))
    assert (parked.awaits, parked.kind) == ("flux.cancelled.v1", "flux.imported.v1")
    async with running(stage.bus(), subscription):
        await until(lambda: heard == [other, flux_id])
    async with running(stage.bus(), subscription):
        last = await stage.happen(document(2), behind=flux_id)
        await until(lambda: last in heard)
    assert heard == [other, flux_id, last]


async def test_what_is_parked_for_another_reason_waits_for_a_person(stage: Stage) -> None:
    is_readable = False
    listener = Listener(stage, fails=lambda _: None if is_readable else MalformedMessageError("not to be read"))
    async with running(stage.bus(), listener.subscription(GROUP)):
        flux_id = await stage.happen(document(0))
        parked = await _parked_fact(stage, flux_id)
    is_readable = True
    async with running(stage.bus(), listener.subscription(GROUP)):
        last = await stage.happen(document(1), behind=flux_id)
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(last, "flux.imported.v1")]
    assert parked.parked_id in {one.parked_id for one in await stage.parked().all()}


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
    return await _parked(stage, await _body(stage, flux_id, 1))


async def _body(stage: Stage, flux_id: UUID, version: int) -> str:
    return (await PostgresHistory(stage.database).recorded(flux_id))[version - 1].body

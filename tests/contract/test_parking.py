"""Messages that cannot be read: set aside with their reason, listed, released; the same promises by both buses."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from shared.bus.consumer import ParkedMessage, Subscription
from shared.bus.kafka import KafkaParkedMessages, _Handover
from shared.errors import MalformedMessageError, NewerFactError, UnavailableError
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxCancelled, FluxImported, FluxValidated
from shared.facts.lifecycles.flux import TRANSITIONS, State, fold
from shared.facts.platform import MessageReleased
from shared.facts.streams import BY_KIND
from shared.journal.history import PostgresHistory
from tests import examples as an
from tests.stage import PATIENCE_SECONDS, Listener, Stage, document, running, until

GROUP = "validation"  # one that may park
HANDOVER_SECONDS = 5.0  # longer than a process takes to begin with what another has handed over


class OlderCancelled(FluxCancelled):
    """As an older version has it, to which fewer values are known."""

    reason: Literal["abandon"]


def without_a_kind(older: pytest.MonkeyPatch) -> None:
    older.delitem(BY_KIND, kind_of(FluxCancelled))


def without_a_value(older: pytest.MonkeyPatch) -> None:
    older.setitem(BY_KIND, kind_of(FluxCancelled), OlderCancelled)


def without_a_place(older: pytest.MonkeyPatch) -> None:
    older.setitem(TRANSITIONS, State.IMPORTED, {FluxValidated: State.DRAFT})


def in_another_way(older: pytest.MonkeyPatch) -> None:
    """Have a version differ in what no test here is about."""
    older.delitem(BY_KIND, kind_of(MessageReleased))


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


@pytest.mark.parametrize("become_older", [without_a_kind, without_a_value])
async def test_a_message_that_a_version_cannot_read_is_taken_up_by_one_that_can(
    become_older: Callable[[pytest.MonkeyPatch], None], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = Listener(stage), Listener(stage)
    with monkeypatch.context() as before:
        become_older(before)
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


@pytest.mark.parametrize("become_older", [without_a_kind, without_a_value, without_a_place])
async def test_a_message_whose_handler_meets_what_it_cannot_take_in_is_taken_up_likewise(
    become_older: Callable[[pytest.MonkeyPatch], None], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = PostgresHistory(stage.database)
    heard: list[UUID] = []

    async def on_imported(event: Event, _: Fact) -> None:
        if event.flux_id in stage.flux:
            fold(one.data for one in await history.load(event.flux_id))
            heard.append(event.flux_id)

    subscription = Subscription(GROUP, {FluxImported: on_imported})
    with monkeypatch.context() as older:
        become_older(older)
        async with running(stage.bus(), subscription):
            flux_id = await stage.happen(document(0), an.cancelled)
            other = await stage.happen(document(1), behind=flux_id)
            await until(lambda: heard == [other])
            parked = await _parked(stage, await _body(stage, flux_id, 1))
    assert (parked.awaits, parked.kind) == ("flux.cancelled.v1", "flux.imported.v1")
    async with running(stage.bus(), subscription):
        await until(lambda: heard == [other, flux_id])
        third = await stage.happen(document(2), behind=flux_id)
        await until(lambda: third in heard)
    async with running(stage.bus(), subscription):
        last = await stage.happen(document(3), behind=flux_id)
        await until(lambda: last in heard)
    assert heard.count(flux_id) == 1


async def test_a_version_that_cannot_take_it_in_either_tries_once_and_leaves_it_to_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = 0

    def meet(event: Event) -> Exception | None:
        nonlocal met
        if event.flux_id != first:
            return None
        met += 1
        return NewerFactError("flux.teleported.v1", "not to be read")

    listener = Listener(stage, fails=meet)
    first = await stage.happen(document(0))
    with monkeypatch.context() as older:
        in_another_way(older)
        async with running(stage.bus(), listener.subscription(GROUP)):
            parked = await _parked_fact(stage, first)
            await _settled(stage, listener, first)
    async with running(stage.bus(), listener.subscription(GROUP)):
        again = await _parked_fact(stage, first, after=parked.parked_at)
        await _settled(stage, listener, first)
    async with running(stage.bus(), listener.subscription(GROUP)):
        await _settled(stage, listener, first)
    assert (met, again.awaits) == (2, "flux.teleported.v1")
    with monkeypatch.context() as other:
        without_a_kind(other)
        async with running(stage.bus(), listener.subscription(GROUP)):
            await until(lambda: met == 3)


async def test_what_was_parked_before_there_were_dialects_is_taken_up_by_any(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = NewerFactError("flux.teleported.v1", "not to be read")
    flux_id = await stage.happen(document(0))
    older = Listener(stage, fails=lambda event: unreadable if event.flux_id == flux_id else None)
    newer = Listener(stage)
    with monkeypatch.context() as before:
        _park_as_before(before)
        async with running(stage.bus(), older.subscription(GROUP)):
            parked = await _parked_fact(stage, flux_id)
            await _settled(stage, older, flux_id)
    assert parked.awaits == "flux.teleported.v1"
    await stage.database.execute("update parked set dialect = ''")
    async with running(stage.bus(), newer.subscription(GROUP)):
        await until(lambda: (flux_id, "flux.imported.v1") in newer.heard)


async def test_while_versions_run_side_by_side_each_tries_once_and_the_newer_has_the_last_word(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[UUID] = []

    def meet(event: Event) -> Exception | None:
        met.append(event.flux_id)
        return NewerFactError("flux.teleported.v1", "not to be read") if event.flux_id in newer_flux else None

    older, newer = Listener(stage, fails=meet), Listener(stage)
    newer_flux = {await stage.happen(document(number)) for number in range(12)}
    async with AsyncExitStack() as versions:
        async with AsyncExitStack() as replaced:
            with monkeypatch.context() as before:
                in_another_way(before)
                await replaced.enter_async_context(running(stage.bus(), older.subscription(GROUP)))
                for flux_id in newer_flux:
                    await _parked_fact(stage, flux_id)
            await versions.enter_async_context(running(stage.bus(), newer.subscription(GROUP)))
            await until(lambda: bool(newer.heard))  # it has its part of the work
        await until(lambda: {flux_id for flux_id, _ in newer.heard} == newer_flux)
    assert sorted(met) == sorted(newer_flux)
    assert sorted(newer.heard) == sorted((flux_id, "flux.imported.v1") for flux_id in newer_flux)


@pytest.mark.parametrize("stage", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_a_process_that_takes_up_what_was_parked_holds_nothing_that_another_is_given(
    stage: Stage, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, is_asked, may_end, is_done = (asyncio.Event() for _ in range(4))
    read, hand_over = KafkaParkedMessages._read, _Handover.on_partitions_revoked

    async def read_slowly(parked: KafkaParkedMessages) -> dict[str, ConsumerRecord]:
        if not has_begun.is_set():
            has_begun.set()
            await may_end.wait()
        return await read(parked)

    async def hand_over_once_asked(handover: _Handover, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            is_asked.set()
        await hand_over(handover, revoked)

    monkeypatch.setattr(KafkaParkedMessages, "_read", read_slowly)
    monkeypatch.setattr(_Handover, "on_partitions_revoked", hand_over_once_asked)
    at_work: set[UUID] = set()
    twice: set[UUID] = set()
    heard: set[UUID] = set()

    async def on_fact(event: Event, _: Fact) -> None:
        if event.flux_id in at_work:
            twice.add(event.flux_id)
        heard.add(event.flux_id)

    async def on_fact_slowly(event: Event, fact: Fact) -> None:
        await on_fact(event, fact)
        at_work.add(event.flux_id)
        await is_done.wait()
        at_work.discard(event.flux_id)

    flux = {await stage.happen(document(number)) for number in range(24)}
    async with running(stage.bus(), Subscription(group, {FluxImported: on_fact})):
        await until(has_begun.is_set)
        async with running(stage.bus(), Subscription(group, {FluxImported: on_fact_slowly})):
            await until(is_asked.is_set)
            flux |= {
                await stage.happen(document(number)) for number in range(24, 48)
            }  # for the second, at the latest
            with suppress(TimeoutError):
                async with asyncio.timeout(HANDOVER_SECONDS):
                    await until(lambda: bool(at_work))
            may_end.set()
            await until(lambda: bool(at_work))
            await asyncio.sleep(0.5)  # the first goes on with what it holds
            is_done.set()
            await until(lambda: flux <= heard)
    assert not twice


async def test_what_is_parked_for_another_reason_waits_for_a_person(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = MalformedMessageError("not to be read")
    flux_id = await stage.happen(document(0))
    older = Listener(stage, fails=lambda event: unreadable if event.flux_id == flux_id else None)
    newer = Listener(stage)
    with monkeypatch.context() as before:
        in_another_way(before)
        async with running(stage.bus(), older.subscription(GROUP)):
            parked = await _parked_fact(stage, flux_id)
            await _settled(stage, older, flux_id)
    async with running(stage.bus(), newer.subscription(GROUP)):
        await _settled(stage, newer, flux_id)
    assert flux_id not in {heard for heard, _ in newer.heard}
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


async def _parked_fact(stage: Stage, flux_id: UUID, *, after: str = "") -> ParkedMessage:
    return await _parked(stage, await _body(stage, flux_id, 1), after=after)


async def _settled(stage: Stage, listener: Listener, flux_id: UUID) -> None:
    """Wait until a message is settled, and whatever was to be taken up: others that come behind are heard."""
    for _ in range(2):
        last = await stage.happen(document(len(stage.flux)), behind=flux_id)
        await until(lambda last=last: (last, "flux.imported.v1") in listener.heard)  # type: ignore[misc]


def _park_as_before(before: pytest.MonkeyPatch) -> None:
    """Have Kafka keep of a parked message what was kept of it before there were dialects."""
    send = AIOKafkaProducer.send_and_wait

    async def send_less(*arguments: Any, headers: Sequence[tuple[str, bytes]] = (), **more: Any) -> Any:
        kept = [one for one in headers if one[0] not in {"parked_dialect", "parked_partition"}]
        return await send(*arguments, headers=kept, **more)

    before.setattr(AIOKafkaProducer, "send_and_wait", send_less)


async def _body(stage: Stage, flux_id: UUID, version: int) -> str:
    return (await PostgresHistory(stage.database).recorded(flux_id))[version - 1].body

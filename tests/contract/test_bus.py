"""How services hear of facts: the same promises by the embedded bus and by Kafka (`shared.bus.consumer`)."""

import asyncio
from contextlib import AsyncExitStack, suppress
from uuid import UUID

import pytest

from shared.bus.consumer import Subscription
from shared.errors import UnavailableError
from shared.facts import flux as facts
from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.streams import BY_KIND
from tests import examples as an
from tests.stage import PATIENCE_SECONDS, Listener, Stage, document, running, until

# Longer than processes take to hear of each other (1 second), or than Kafka waits for one that is busy if not told
# to wait longer (3 seconds to hear, and the 10 of a session).
JOIN_SECONDS = {"postgres": 2.5, "kafka": 16.0}
BACKLOG = 600  # more than either bus reads at a time


async def test_every_fact_that_is_listened_to_is_heard_once_while_all_is_well(stage: Stage, group: str) -> None:
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(group)):
        flux = [await stage.happen(document(number), an.validated_again) for number in range(20)]
        await until(lambda: len(listener.heard) >= 20)
    assert sorted(listener.heard) == sorted((flux_id, "flux.imported.v1") for flux_id in flux)


async def test_facts_of_one_kind_and_one_flux_come_in_order(stage: Stage, group: str) -> None:
    heard: list[int] = []

    async def on_attempted(event: Event, attempted: facts.TransmissionAttempted) -> None:
        if event.flux_id in stage.flux:
            heard.append(attempted.attempt)

    attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, BACKLOG)]
    async with running(stage.bus(), Subscription(group, {facts.TransmissionAttempted: on_attempted})):
        await stage.happen(an.imported, *attempts)
        await until(lambda: len(heard) >= BACKLOG - 1)
    assert heard == list(range(1, BACKLOG))


async def test_a_fact_larger_than_a_broker_takes_by_default_goes_through(stage: Stage, group: str) -> None:
    listener = Listener(stage)
    large = an.released.model_copy(update={"reason": "x" * 3_000_000})
    async with running(stage.bus(), listener.subscription(group, facts.TransmissionReleased)):
        flux_id = await stage.happen(an.imported, large)
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "transmission.released.v1")]


async def test_a_fact_that_happened_while_nobody_listened_is_heard_later(stage: Stage, group: str) -> None:
    flux_id = await stage.happen(an.imported)
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(group)):
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.imported.v1")]


async def test_two_groups_each_hear_everything(stage: Stage, group: str) -> None:
    one, other = Listener(stage), Listener(stage)
    async with (
        running(stage.bus(), one.subscription(f"{group}-1", facts.FluxImported, facts.FluxValidated)),
        running(stage.bus(), other.subscription(f"{group}-2", facts.FluxSigned, facts.FluxImported)),
    ):
        flux_id = await stage.happen(an.imported, an.validated, an.signature_requested, an.signed)
        await until(lambda: len(one.heard) >= 2 and len(other.heard) >= 2)
    assert sorted(one.heard) == [(flux_id, "flux.imported.v1"), (flux_id, "flux.validated.v1")]
    assert sorted(other.heard) == [(flux_id, "flux.imported.v1"), (flux_id, "flux.signed.v1")]


async def test_a_kind_that_only_a_newer_version_knows_and_listens_to_is_heard_by_it(
    stage: Stage, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = Listener(stage), Listener(stage)
    with monkeypatch.context() as before:
        before.delitem(BY_KIND, kind_of(facts.FluxCancelled))
        async with running(stage.bus(), older.subscription(group)):
            flux_id = await stage.happen(document(1), an.cancelled)
            other = await stage.happen(document(2), behind=flux_id)
            await until(lambda: len(older.heard) >= 2)
    assert [heard for heard, _ in older.heard] == [flux_id, other]
    async with running(stage.bus(), newer.subscription(group, facts.FluxImported, facts.FluxCancelled)):
        await until(lambda: (flux_id, "flux.cancelled.v1") in newer.heard)
    assert [one for one in newer.heard if one[1] == "flux.cancelled.v1"] == [(flux_id, "flux.cancelled.v1")]


async def test_what_was_settled_is_not_heard_again_after_a_restart(stage: Stage, group: str) -> None:
    before, after = Listener(stage), Listener(stage)
    settled = await stage.happen(document(1))
    async with running(stage.bus(), before.subscription(group)):
        last = await stage.happen(document(2), behind=settled)
        await until(lambda: len(before.heard) >= 2)  # what is ahead in the line is settled by then
    async with running(stage.bus(), after.subscription(group)):
        flux_id = await stage.happen(document(3), behind=settled)
        await until(lambda: (flux_id, "flux.imported.v1") in after.heard)
    assert [heard for heard, _ in after.heard if heard != last] == [flux_id]


async def test_what_was_not_settled_is_heard_again_after_a_crash(stage: Stage, group: str) -> None:
    flux_id = await stage.happen(an.imported)
    has_begun = asyncio.Event()

    async def on_fact(event: Event, _: Fact) -> None:
        if event.flux_id == flux_id:
            has_begun.set()
            await asyncio.sleep(3600)

    async with (
        running(stage.bus(), Subscription(group, {facts.FluxImported: on_fact})),
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        await has_begun.wait()
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(group)):
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.imported.v1")]


async def test_the_processes_of_one_group_miss_nothing_when_one_of_them_dies(stage: Stage, group: str) -> None:
    first, second = Listener(stage), Listener(stage)
    async with running(stage.bus(), second.subscription(group)):
        async with running(stage.bus(), first.subscription(group)):
            flux = [await stage.happen(document(number)) for number in range(12)]
            await until(lambda: len({*first.heard, *second.heard}) >= 6)
        flux += [await stage.happen(document(number)) for number in range(12, 24)]
        await until(lambda: len({*first.heard, *second.heard}) == 24)
    assert {flux_id for flux_id, _ in (*first.heard, *second.heard)} == set(flux)


@pytest.mark.parametrize("is_second_late", [False, True], ids=["together", "one after the other"])
async def test_the_processes_of_one_group_share_the_work(stage: Stage, group: str, *, is_second_late: bool) -> None:
    first, second = Listener(stage), Listener(stage)
    async with running(stage.bus(), first.subscription(group)):
        if is_second_late:
            await stage.happen(document(9_999))
            await until(lambda: bool(first.heard))
        async with running(stage.bus(), second.subscription(group)):
            flux: list[UUID] = []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(first.heard) < 5 or len(second.heard) < 5:
                    flux.append(await stage.happen(document(len(flux))))
                    await asyncio.sleep(0.02)
            await until(lambda: {one for one, _ in (*first.heard, *second.heard)} >= set(flux))
            await _expect_each_once(stage, first, second)


async def _expect_each_once(stage: Stage, *listeners: Listener) -> None:
    """Once every process has its part of the work, a fact is heard by one of them, and once."""
    for listener in listeners:
        listener.heard.clear()
    flux = [await stage.happen(document(number)) for number in range(10_000, 10_020)]
    await until(lambda: sum(len(listener.heard) for listener in listeners) >= len(flux))
    heard = [flux_id for listener in listeners for flux_id, _ in listener.heard]
    assert sorted(heard) == sorted(flux)


async def test_one_flux_is_never_handled_by_two_processes_at_once(stage: Stage, group: str) -> None:
    at_work: set[UUID] = set()
    heard_by: dict[int, set[tuple[UUID, str]]] = {number: set() for number in range(4)}

    def subscription_of(process: int) -> Subscription:
        async def on_fact(event: Event, _: Fact) -> None:
            if event.flux_id not in stage.flux:
                return
            assert event.flux_id not in at_work, "two at once"
            at_work.add(event.flux_id)
            await asyncio.sleep(0.05)
            at_work.discard(event.flux_id)
            heard_by[process].add((event.flux_id, event.kind))

        return Subscription(
            group, dict.fromkeys((facts.FluxImported, facts.FluxValidated, facts.FluxSigned), on_fact)
        )

    async with AsyncExitStack() as processes, asyncio.timeout(2 * PATIENCE_SECONDS):
        tasks = [
            await processes.enter_async_context(running(stage.bus(), subscription_of(process)))
            for process in heard_by
        ]
        expected: set[tuple[UUID, str]] = set()
        while min(map(len, heard_by.values())) < 6 or not expected <= set().union(*heard_by.values()):
            assert not any(task.done() for task in tasks)
            if min(map(len, heard_by.values())) < 6:
                number = len(expected)
                flux_id = await stage.happen(document(number), an.validated_again, an.signature_requested, an.signed)
                expected |= {(flux_id, f"flux.{kind}.v1") for kind in ("imported", "validated", "signed")}
            await asyncio.sleep(0.02)


async def test_what_a_process_is_busy_with_is_not_handed_to_those_that_join(stage: Stage, group: str) -> None:
    begun: list[UUID] = []
    at_work: set[UUID] = set()
    is_done, are_enough = asyncio.Event(), asyncio.Event()
    others = Listener(stage)

    async def on_fact(event: Event, _: Fact) -> None:
        if event.flux_id not in stage.flux:
            return
        begun.append(event.flux_id)
        at_work.add(event.flux_id)
        if len(at_work) >= 3:  # more than one process keeps once there are four
            are_enough.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # a bus may bring one message and wait until it is settled
                await are_enough.wait()
        if are_enough.is_set():
            await is_done.wait()
        at_work.discard(event.flux_id)

    flux: list[UUID] = []
    async with AsyncExitStack() as processes:
        await processes.enter_async_context(running(stage.bus(), Subscription(group, {facts.FluxImported: on_fact})))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not are_enough.is_set():
                flux.append(await stage.happen(document(len(flux))))
                await asyncio.sleep(0.02)
        flux += [await stage.happen(document(number)) for number in range(len(flux), len(flux) + 24)]
        for _ in range(3):
            await processes.enter_async_context(running(stage.bus(), others.subscription(group)))
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_SECONDS[stage.kind]):
                await until(lambda: bool(others.heard))
        assert not set(begun) & {flux_id for flux_id, _ in others.heard}
        is_done.set()
        await until(lambda: {*begun, *(flux_id for flux_id, _ in others.heard)} == set(flux))


async def test_while_a_party_is_away_a_message_waits_and_those_behind_it_keep_their_order(
    stage: Stage, group: str
) -> None:
    is_away = True
    listener = Listener(stage, fails=lambda _: UnavailableError("sftp", "away") if is_away else None)
    bus = stage.bus()
    async with running(bus, listener.subscription(group)) as task:
        flux_id = await stage.happen(an.imported)
        await until(lambda: bus.waits_for() == ["sftp"])
        assert not task.done()
        is_away = False
        await until(lambda: bool(listener.heard))
        await until(lambda: bus.waits_for() == [])
    assert listener.heard == [(flux_id, "flux.imported.v1")]


async def test_what_comes_behind_a_message_that_waits_is_heard_after_it_and_in_order(
    stage: Stage, group: str
) -> None:
    is_away = True
    heard: list[int] = []

    async def on_attempted(event: Event, attempted: facts.TransmissionAttempted) -> None:
        if event.flux_id not in stage.flux:
            return
        if is_away and attempted.attempt == 3:
            raise UnavailableError("sftp", "away")
        heard.append(attempted.attempt)

    attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, 9)]
    bus = stage.bus()
    async with running(bus, Subscription(group, {facts.TransmissionAttempted: on_attempted})):
        await stage.happen(an.imported, *attempts)
        await until(lambda: bus.waits_for() == ["sftp"])
        assert heard == [1, 2]
        is_away = False
        await until(lambda: len(heard) >= 8)
    assert heard == list(range(1, 9))


async def test_a_message_that_waits_keeps_nobody_waiting_but_those_in_line_behind_it(
    stage: Stage, group: str
) -> None:
    is_away = True
    stuck = await stage.happen(document(0))
    listener = Listener(
        stage, fails=lambda event: UnavailableError("sftp", "away") if is_away and event.flux_id == stuck else None
    )
    others = [await stage.happen(document(1), behind=stuck)]
    others += [await stage.happen(document(number)) for number in range(2, 40)]
    behind = [flux_id for flux_id in others if stage.line_of(flux_id) == stage.line_of(stuck)]
    elsewhere = [flux_id for flux_id in others if flux_id not in behind]
    async with running(stage.bus(), listener.subscription(group)):
        await until(lambda: len(listener.heard) >= len(elsewhere))
        assert sorted(flux_id for flux_id, _ in listener.heard) == sorted(elsewhere)
        is_away = False
        await until(lambda: len(listener.heard) >= len(stage.flux))
    assert [flux_id for flux_id, _ in listener.heard[len(elsewhere) :]] == [stuck, *behind]


async def test_a_bug_ends_the_service_and_settles_nothing(stage: Stage, group: str) -> None:
    flux_id = await stage.happen(an.imported)
    faulty = Listener(stage, fails=lambda _: KeyError("a bug"))
    async with running(stage.bus(), faulty.subscription(group)) as task:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait([task])
        assert task.exception() is not None
    mended = Listener(stage)
    async with running(stage.bus(), mended.subscription(group)):
        await until(lambda: bool(mended.heard))
    assert mended.heard == [(flux_id, "flux.imported.v1")]

"""How services hear of facts: the same promises by the embedded bus and by Kafka (`shared.consumer`)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.relay.adapters.journal import PostgresCursor
from shared.bus import open_bus, open_parked
from shared.bus_kafka import KafkaBus, KafkaPublisher
from shared.bus_postgres import PostgresBus
from shared.consumer import ParkedMessage, ParkedMessages, Subscription
from shared.envelope import Event, new_id
from shared.errors import MalformedMessageError, UnavailableError
from shared.events import (
    Document,
    Fact,
    FluxCancelled,
    FluxImported,
    FluxSigned,
    FluxValidated,
    TransmissionAttempted,
)
from shared.history import PostgresHistory
from shared.postgres import Database
from tests import examples as an
from tests.conftest import TestDatabase
from tests.ordering import order_all

PATIENCE_SECONDS = 30
JOIN_SECONDS = {"postgres": 2.5, "kafka": 5.0}  # longer than processes take to hear of each other: 1 and 3 seconds
BACKLOG = 600  # more than either bus reads at a time
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
GROUP = "validation"  # one that may park


@dataclass
class Stage:
    """A bus, and a journal whose facts reach it."""

    kind: str
    database: Database
    dsn: str
    bootstrap: str
    publisher: KafkaPublisher | None
    flux: set[UUID] = field(default_factory=set)

    def bus(self) -> PostgresBus | KafkaBus:
        """Return the bus as one process of a service has it."""
        return open_bus(self.kind, database=self.database, dsn=self.dsn, bootstrap=self.bootstrap)

    def parked(self) -> ParkedMessages:
        """Return the parked messages, as an operator has them."""
        return open_parked(self.kind, database=self.database, bootstrap=self.bootstrap)

    async def happen(self, *facts: Fact) -> UUID:
        """Append facts of a new flux, order them and publish them."""
        flux_id = new_id()
        self.flux.add(flux_id)
        event = Event.first(
            facts[0], flux_id=flux_id, collectivite="1", actor="amina", correlation_id=new_id(), at=NOW
        )
        events = [event, *(event.follow(fact, actor="x", at=NOW) for fact in facts[1:])]
        await PostgresHistory(self.database).append(events, expected_version=0)
        await self.flow()
        return flux_id

    async def happen_unreadable(self) -> str:
        """Have a message that this version cannot read come by, and return its body."""
        flux_id = new_id()
        self.flux.add(flux_id)
        body = f'{{"data": "{flux_id}"}}'
        await self.database.execute(
            "insert into journal (flux_id, version, event_id, collectivite, kind, body) "
            "values ($1, 1, gen_random_uuid(), '1', 'flux.cancelled.v1', $2)",
            flux_id,
            body,
        )
        await self.flow()
        return body

    async def flow(self) -> None:
        """Do once what `relay` does for ever."""
        await order_all(self.database)
        if self.publisher is not None:
            cursor = PostgresCursor(self.database, "kafka")
            while facts := await cursor.next(100):
                await self.publisher.publish(facts)
                await cursor.advance(facts[-1].index)


@dataclass
class Listener:
    """A handler that keeps what it hears of our own flux; others' may be on a shared broker."""

    stage: Stage
    heard: list[tuple[UUID, str]] = field(default_factory=list)
    fails: Callable[[Event], Exception | None] = lambda _: None

    async def on_fact(self, event: Event, _: Fact) -> None:
        if event.flux_id not in self.stage.flux:
            return
        if error := self.fails(event):
            raise error
        self.heard.append((event.flux_id, event.kind))

    def subscription(self, group: str, *facts: type[Fact]) -> Subscription:
        return Subscription(group, dict.fromkeys(facts or (FluxImported,), self.on_fact))


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
async def stage(request: pytest.FixtureRequest, test_database: TestDatabase) -> AsyncIterator[Stage]:
    bootstrap = request.getfixturevalue("kafka").bootstrap if request.param == "kafka" else ""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(test_database.dsn(), connections_max=20))
        publisher = KafkaPublisher(bootstrap) if bootstrap else None
        if publisher is not None:
            stack.push_async_callback(publisher.close)
        yield Stage(request.param, database, test_database.dsn(), bootstrap, publisher)


@pytest.fixture
def group() -> str:
    return f"group-{new_id()}"


@asynccontextmanager
async def running(bus: PostgresBus | KafkaBus, subscription: Subscription) -> AsyncIterator[asyncio.Task[None]]:
    """Run one process of a service; leaving is its sudden end."""
    task = asyncio.create_task(bus.run(subscription))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened():
            await asyncio.sleep(0.01)


def document(number: int) -> FluxImported:
    return an.imported.model_copy(update={"document": Document(sha256=f"{number:064x}", size=1)})


async def test_every_fact_that_is_listened_to_is_heard_once_while_all_is_well(stage: Stage, group: str) -> None:
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(group)):
        flux = [await stage.happen(document(number), an.validated) for number in range(20)]
        await until(lambda: len(listener.heard) >= 20)
    assert sorted(listener.heard) == sorted((flux_id, "flux.imported.v1") for flux_id in flux)


async def test_facts_of_one_kind_and_one_flux_come_in_order(stage: Stage, group: str) -> None:
    heard: list[int] = []

    async def on_attempted(event: Event, attempted: TransmissionAttempted) -> None:
        if event.flux_id in stage.flux:
            heard.append(attempted.attempt)

    attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, BACKLOG)]
    async with running(stage.bus(), Subscription(group, {TransmissionAttempted: on_attempted})):
        await stage.happen(an.imported, *attempts)
        await until(lambda: len(heard) >= BACKLOG - 1)
    assert heard == list(range(1, BACKLOG))


async def test_a_fact_larger_than_a_broker_takes_by_default_goes_through(stage: Stage, group: str) -> None:
    listener = Listener(stage)
    large = an.cancelled.model_copy(update={"reason": "x" * 3_000_000})
    async with running(stage.bus(), listener.subscription(group, FluxCancelled)):
        flux_id = await stage.happen(an.imported, large)
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.cancelled.v1")]


async def test_a_fact_that_happened_while_nobody_listened_is_heard_later(stage: Stage, group: str) -> None:
    flux_id = await stage.happen(an.imported)
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(group)):
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.imported.v1")]


async def test_two_groups_each_hear_everything(stage: Stage, group: str) -> None:
    one, other = Listener(stage), Listener(stage)
    async with (
        running(stage.bus(), one.subscription(f"{group}-1", FluxImported, FluxValidated)),
        running(stage.bus(), other.subscription(f"{group}-2", FluxSigned, FluxImported)),
    ):
        flux_id = await stage.happen(an.imported, an.validated, an.signature_requested, an.signed)
        await until(lambda: len(one.heard) >= 2 and len(other.heard) >= 2)
    assert sorted(one.heard) == [(flux_id, "flux.imported.v1"), (flux_id, "flux.validated.v1")]
    assert sorted(other.heard) == [(flux_id, "flux.imported.v1"), (flux_id, "flux.signed.v1")]


async def test_what_was_settled_is_not_heard_again_after_a_restart(stage: Stage, group: str) -> None:
    before, after = Listener(stage), Listener(stage)
    async with running(stage.bus(), before.subscription(group)):
        await stage.happen(document(1))
        await until(lambda: bool(before.heard))
        await asyncio.sleep(0.3)  # the place is saved after the handler returns
    async with running(stage.bus(), after.subscription(group)):
        flux_id = await stage.happen(document(2))
        await until(lambda: bool(after.heard))
    assert after.heard == [(flux_id, "flux.imported.v1")]


async def test_what_was_not_settled_is_heard_again_after_a_crash(stage: Stage, group: str) -> None:
    flux_id = await stage.happen(an.imported)
    has_begun = asyncio.Event()

    async def on_fact(event: Event, _: Fact) -> None:
        if event.flux_id == flux_id:
            has_begun.set()
            await asyncio.sleep(3600)

    async with running(stage.bus(), Subscription(group, {FluxImported: on_fact})), asyncio.timeout(PATIENCE_SECONDS):
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

        return Subscription(group, dict.fromkeys((FluxImported, FluxValidated, FluxSigned), on_fact))

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
                flux_id = await stage.happen(document(number), an.validated, an.signature_requested, an.signed)
                expected |= {(flux_id, f"flux.{kind}.v1") for kind in ("imported", "validated", "signed")}
            await asyncio.sleep(0.02)


async def test_what_a_process_is_busy_with_is_not_handed_to_those_that_join(stage: Stage, group: str) -> None:
    begun: list[UUID] = []
    is_done = asyncio.Event()
    others = Listener(stage)

    async def on_fact(event: Event, _: Fact) -> None:
        if event.flux_id in stage.flux:
            begun.append(event.flux_id)
            await is_done.wait()

    flux = [await stage.happen(document(number)) for number in range(24)]
    async with AsyncExitStack() as processes:
        await processes.enter_async_context(running(stage.bus(), Subscription(group, {FluxImported: on_fact})))
        await until(lambda: len(begun) >= 3)  # more than one process keeps once there are four
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

    async def on_attempted(event: Event, attempted: TransmissionAttempted) -> None:
        if event.flux_id not in stage.flux:
            return
        if is_away and attempted.attempt == 3:
            raise UnavailableError("sftp", "away")
        heard.append(attempted.attempt)

    attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, 9)]
    bus = stage.bus()
    async with running(bus, Subscription(group, {TransmissionAttempted: on_attempted})):
        await stage.happen(an.imported, *attempts)
        await until(lambda: bus.waits_for() == ["sftp"])
        assert heard == [1, 2]
        is_away = False
        await until(lambda: len(heard) >= 8)
    assert heard == list(range(1, 9))


async def test_a_message_that_waits_does_not_keep_other_flux_waiting(stage: Stage, group: str) -> None:
    stuck = await stage.happen(document(0))
    listener = Listener(
        stage, fails=lambda event: UnavailableError("sftp", "away") if event.flux_id == stuck else None
    )
    async with running(stage.bus(), listener.subscription(group)):
        others = [await stage.happen(document(number)) for number in range(1, 40)]
        await until(lambda: len(listener.heard) >= 20)
    assert {flux_id for flux_id, _ in listener.heard} <= set(others)


async def test_a_message_that_cannot_be_read_is_parked_and_the_stream_goes_on(stage: Stage) -> None:
    listener = Listener(stage)
    async with running(stage.bus(), listener.subscription(GROUP, FluxImported, FluxCancelled)):
        body = await stage.happen_unreadable()
        await stage.happen(an.imported, an.cancelled)
        await until(lambda: len(listener.heard) == 2)
        parked = await _parked(stage, body)
    assert parked.group == GROUP
    assert "not an event we can read" in parked.error
    assert datetime.fromisoformat(parked.parked_at).tzinfo is not None


async def test_what_is_released_comes_again_and_is_parked_again_if_it_must(stage: Stage) -> None:
    async with running(stage.bus(), Listener(stage).subscription(GROUP, FluxCancelled)):
        body = await stage.happen_unreadable()
        first = await _parked(stage, body)
        assert await stage.parked().release(first.parked_id)
        again = await _parked(stage, body, after=first.parked_at)
    assert again.error == first.error


async def test_what_is_released_is_heard_once_it_can_be_read_and_is_parked_no_more(stage: Stage) -> None:
    is_readable = False
    unreadable = MalformedMessageError("written by a newer version")
    listener = Listener(stage, fails=lambda _: None if is_readable else unreadable)
    async with running(stage.bus(), listener.subscription(GROUP)):
        flux_id = await stage.happen(an.imported)
        (recorded,) = await PostgresHistory(stage.database).load(flux_id)
        parked = await _parked(stage, recorded.to_bytes().decode())
        assert listener.heard == []
        is_readable = True
        assert await stage.parked().release(parked.parked_id)
        await until(lambda: bool(listener.heard))
    assert listener.heard == [(flux_id, "flux.imported.v1")]
    assert parked.parked_id not in {one.parked_id for one in await stage.parked().all()}


async def test_what_is_not_parked_cannot_be_released(stage: Stage) -> None:
    assert not await stage.parked().release(str(new_id()))


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


async def _parked(stage: Stage, body: str, *, after: str = "") -> ParkedMessage:
    """Wait until a message is parked, and return it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for one in await stage.parked().all():
                if one.body == body and one.parked_at > after:
                    return one
            await asyncio.sleep(0.02)

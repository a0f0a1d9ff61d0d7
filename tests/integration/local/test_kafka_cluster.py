"""Three brokers, each fact on all of them: one dies in the middle, and no fact is lost."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from shared.bus.consumer import Subscription
from shared.bus.kafka import KafkaBus, KafkaPublisher, create_topics
from shared.bus.topics import TOPICS
from shared.errors import UnavailableError
from shared.facts.envelope import Event
from shared.facts.flux import FluxImported
from shared.journal.order import OrderedFact
from tests import examples as an
from tests.real.kafka import KafkaCluster, require_kafka
from tests.recording import begun

FACTS = 30
PAUSE_SECONDS = 0.2


def fact(index: int) -> OrderedFact:
    event = begun(an.imported, collectivite=an.collectivite, at=datetime.now(UTC))
    return OrderedFact(index, event.kind, event.flux_id, event.to_bytes().decode())


async def publish(publisher: KafkaPublisher, one: OrderedFact) -> None:
    """Publish as `relay` does: again, until the cluster has it."""
    while True:
        try:
            await publisher.publish([one])
        except UnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_a_broker_that_dies_delays_and_loses_nothing(tmp_path: Path) -> None:
    require_kafka()
    heard: list[UUID] = []

    async def on_imported(event: Event, _: FluxImported) -> None:
        heard.append(event.flux_id)

    with KafkaCluster(tmp_path, nodes=3) as kafka:
        await create_topics(kafka.bootstrap, TOPICS, replication=3)
        publisher = KafkaPublisher(kafka.bootstrap)
        bus = KafkaBus(kafka.bootstrap)
        listening = asyncio.create_task(bus.run(Subscription("validation", {FluxImported: on_imported})))
        facts = [fact(index) for index in range(FACTS)]
        for one in facts:
            if one.index == FACTS // 2:
                kafka.brokers[0].kill()
            await publish(publisher, one)
        async with asyncio.timeout(120):
            while not {one.stream_id for one in facts} <= set(heard):
                await asyncio.sleep(PAUSE_SECONDS)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await publisher.close()
    assert set(heard) == {one.stream_id for one in facts}

"""What is Kafka's alone: a process that is long at work asks for its next messages before the group gives it up."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from pes.units import MEBIBYTE
from services.gateway.settings import Settings as GatewaySettings
from services.ingest.settings import Settings as IngestSettings
from shared.bus import kafka as bus_kafka
from shared.bus.consumer import Subscription
from shared.bus.kafka import HANDLING_SECONDS_MAX, KafkaPublisher
from shared.facts.envelope import Event, new_id
from shared.facts.flux import TransmissionAttempted
from shared.journal.postgres import Database
from tests import examples as an
from tests.conftest import TestDatabase
from tests.real.kafka import KafkaCluster
from tests.stage import Stage, running, until

ATTEMPTS = 20


def test_a_group_waits_for_a_process_as_long_as_the_largest_flux_may_take_to_leave() -> None:
    bytes_max = IngestSettings.model_fields["file_bytes_max"].default
    seconds_each = GatewaySettings.model_fields["operation_seconds_max"].default
    assert bytes_max / MEBIBYTE * seconds_each < HANDLING_SECONDS_MAX


@pytest.mark.kafka
async def test_a_batch_that_takes_long_is_cut_and_the_rest_read_again_in_order(
    test_database: TestDatabase, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    heard_at_polls: list[int] = []
    getmany = AIOKafkaConsumer.getmany

    async def poll(consumer: AIOKafkaConsumer, **options: Any) -> Any:
        heard_at_polls.append(len(heard))
        return await getmany(consumer, **options)

    async def on_attempted(event: Event, attempted: TransmissionAttempted) -> None:
        if event.flux_id in stage.flux:
            await asyncio.sleep(0.1)
            heard.append(attempted.attempt)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", poll)
    monkeypatch.setattr(bus_kafka, "BATCH_SECONDS_MAX", 0.25)
    publisher = KafkaPublisher(kafka.bootstrap)
    async with Database(test_database.dsn(), connections_max=20) as database:
        stage = Stage("kafka", database, test_database.dsn(), kafka.bootstrap, publisher)
        attempts = [an.attempted.model_copy(update={"attempt": number}) for number in range(1, ATTEMPTS + 1)]
        await stage.happen(an.imported, *attempts)
        group = f"group-{new_id()}"
        async with running(stage.bus(), Subscription(group, {TransmissionAttempted: on_attempted})):
            await until(lambda: len(heard) >= ATTEMPTS)
        await publisher.close()
    assert heard == list(range(1, ATTEMPTS + 1))
    assert max(after - before for before, after in pairwise(heard_at_polls)) <= 3

"""The local Kafka: fetched once, started for real, and taken away without losing what it acknowledged."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local.errors import KafkaUnavailableError
from local.kafka.answering import is_up
from local.kafka.jars import STAMP, ensure_jars
from local.kafka.node import Ports
from tests.real.kafka import KafkaCluster, require_kafka

PROJECT = Path(__file__).parents[3]
TOPIC = "essai"


@pytest.fixture
def lib() -> Path:
    return require_kafka()


async def create_topic(bootstrap: str, *, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=copies)])
    finally:
        await admin.close()


async def produce(bootstrap: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(TOPIC, value)


async def consume(bootstrap: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


def eventually(happened: Callable[[], bool], *, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    return happened()


@pytest.mark.kafka
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("lib")
def test_the_broker_is_fetched_once_however_many_ask(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "kafka" / "lib"
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: ensure_jars(folder, say=said.append), range(2))) == [folder, folder]
    assert len(said) == 1
    assert list(folder.glob("kafka_2.13-*.jar"))


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_the_broker_is_fetched_again_when_the_pin_changes(lib: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / STAMP).write_text("of another pom.xml")
    (folder / "old.jar").touch()
    ensure_jars(folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in lib.iterdir()}


@pytest.mark.kafka
@pytest.mark.timeout(900)
async def test_a_killed_broker_keeps_what_it_acknowledged(lib: Path, tmp_path: Path) -> None:
    # The place that a user chooses may well have a space or an accent in its name.
    folder = tmp_path / "mes données"
    with KafkaCluster(folder, lib=lib) as kafka:
        await create_topic(kafka.bootstrap)
        await produce(kafka.bootstrap, b"before")
        kafka.kill()
        assert not await is_up(kafka.brokers[0].node)
        kafka.start()
        await produce(kafka.bootstrap, b"after")
        assert await consume(kafka.bootstrap) == [b"before", b"after"]
        kafka.kill()
    with KafkaCluster(folder, lib=lib) as elsewhere:  # on other ports
        assert await consume(elsewhere.bootstrap) == [b"before", b"after"]


@pytest.mark.kafka
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_broker_does_not_outlive_who_started_it(lib: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib; from tests.real.kafka import KafkaCluster\n"
        "kafka = KafkaCluster(pathlib.Path(sys.argv[1]), lib=pathlib.Path(sys.argv[2])); kafka.start()\n"
        "print(kafka.brokers[0].pid, flush=True); os._exit(0)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), str(lib)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=90)

    def is_gone() -> bool:
        pid = int(done.stdout)
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    assert eventually(is_gone)


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_broker_that_cannot_start_says_why(lib: Path, tmp_path: Path) -> None:
    with KafkaCluster(tmp_path, lib=lib) as kafka:
        ports = Ports(client=kafka.brokers[0].port, controller=kafka.brokers[0].port + 1)
        other = KafkaCluster(tmp_path / "other", ports=[ports], lib=lib)
        with pytest.raises(KafkaUnavailableError, match=r"(?s)Kafka node 1 stopped.*Address already in use"):
            other.start()
        other.stop()

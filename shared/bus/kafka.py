"""The bus on Apache Kafka: one topic per kind of fact, offsets committed only once a message is settled.

This is the only module, with the relay's publisher, that knows aiokafka. Auto-commit is off. The key of every
message is its flux id, so the facts of one kind and flux stay in order.

A flux is handled by one task of a group at a time. All topics have as many partitions; those of one number go to one
process, whatever the topic (the range assignor), and to one task in it; a process that must give partitions up
first ends the message under way. The group waits for it as long as a handler may take (`HANDLING_SECONDS_MAX`); a
process that does not answer at all has lost its partitions after `SESSION_SECONDS`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
)

from shared.bus.consumer import Attempt, Attempts, Outcome, ParkedMessage, Subscription, Terms
from shared.bus.topics import MESSAGE_BYTES_MAX, Topic, parked_topic_of, topic_of
from shared.errors import MalformedMessageError, PesError, UnavailableError
from shared.facts.envelope import format_time, new_id, read_event
from shared.facts.recorders import SERVICES_THAT_CONSUME
from shared.journal.order import OrderedFact
from shared.tracing import traceparent_of

logger = logging.getLogger(__name__)

RECORDS_MAX = 200
POLL_MILLISECONDS = 250
REQUEST_MILLISECONDS = 20_000
SESSION_SECONDS = 10  # heartbeats do not wait for handlers: a process that sends none is dead, or cut off
# The longest that a handler may take over one message: the largest flux, sent to the slowest server that the gateway
# puts up with (30 s for each of 128 MiB), and as much again.
HANDLING_SECONDS_MAX = 2 * 3600
BATCH_SECONDS_MAX = 60  # no message of a batch is begun later than that; the rest is read again
EVENT_SOURCE = "/heliotrope"

_REBALANCED = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class _RebalancedError(PesError):
    """The group moved on without us: the message comes again, to whoever owns the partition now."""


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what aiokafka raises into `UnavailableError`."""
    try:
        yield
    except _REBALANCED as error:
        raise _RebalancedError(str(error)) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError("kafka", str(error) or type(error).__name__) from error


def cloud_event_headers(fact: OrderedFact) -> list[tuple[str, bytes]]:
    """Return the CloudEvents 1.0 headers (Kafka binding, binary mode) of a fact, with its `traceparent`."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": f"{fact.index}",
        "ce_source": EVENT_SOURCE,
        "ce_type": fact.kind,
        "ce_subject": str(fact.stream_id),
        "content-type": "application/json",
    }
    try:
        event = read_event(fact.body)
    except MalformedMessageError:
        pass  # written by a newer version: it is published as it is, and each consumer says what it makes of it
    else:
        attributes |= {
            "ce_id": str(event.event_id),
            "ce_time": format_time(event.occurred_at),
            "traceparent": traceparent_of(event),
        }
    return [(name, value.encode()) for name, value in attributes.items()]


class KafkaPublisher:
    """Publishes facts, in order, each to the topic of its kind; idempotent producer, acknowledged by all."""

    def __init__(self, bootstrap: str) -> None:
        """Publish to this cluster; the connection is made by `open` and made again after a failure."""
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, facts: Sequence[OrderedFact]) -> None:
        """Return once Kafka has all of them.

        Raises:
            UnavailableError: it may have some of them; publish all again.
        """
        with in_our_words():
            try:
                producer = await self._open()
                sent = [
                    await producer.send(
                        topic_of(fact.kind),
                        value=fact.body.encode(),
                        key=str(fact.stream_id).encode(),
                        headers=cloud_event_headers(fact),
                    )
                    for fact in facts
                ]
                await asyncio.gather(*sent)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close the connection; the next `publish` opens another."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop_quietly(producer)

    async def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = _careful_producer(self._bootstrap)
            try:
                await producer.start()
            except BaseException:
                await _stop_quietly(producer)
                raise
            self._producer = producer
        return self._producer


class KafkaBus(Terms):
    """See the module; implements `shared.bus.consumer.Bus`."""

    def __init__(self, bootstrap: str) -> None:
        """Use this cluster: `host:port`, several separated by commas."""
        super().__init__()
        self._bootstrap = bootstrap

    async def check(self) -> None:
        """See `Bus.check`."""
        with in_our_words():
            async with admin(self._bootstrap):
                pass

    async def _term(self, subscription: Subscription, attempts: Attempts) -> None:
        await _Term(self._bootstrap, subscription, attempts).run()


class _Handover(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Keeps partitions until what is being done with them has ended."""

    def __init__(self) -> None:
        self.working = asyncio.Lock()
        self.is_asked = False
        self.is_new = False  # what another dialect parked may be for us

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002  # all of them
        """Wait until the message under way is settled."""
        self.is_asked = True
        async with self.working:
            pass

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:  # noqa: ARG002  # as above
        """Go on."""
        self.is_asked = False
        self.is_new = True


class _Term:
    """The time during which one process belongs to a consumer group."""

    def __init__(self, bootstrap: str, subscription: Subscription, attempts: Attempts) -> None:
        self._bootstrap = bootstrap
        self._subscription = subscription
        self._attempts = attempts
        self._waiting: set[asyncio.TimerHandle] = set()
        self._handover = _Handover()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=subscription.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=RECORDS_MAX,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=SESSION_SECONDS * 1000,
            rebalance_timeout_ms=HANDLING_SECONDS_MAX * 1000,
            max_poll_interval_ms=(BATCH_SECONDS_MAX + HANDLING_SECONDS_MAX) * 1000,
            request_timeout_ms=REQUEST_MILLISECONDS,
        )
        self._parking = _careful_producer(bootstrap)

    async def run(self) -> None:
        try:
            with in_our_words():
                await self._parking.start()
                await self._consumer.start()
            topics = sorted({topic_of(kind) for kind in self._subscription.kinds})
            self._consumer.subscribe(topics, listener=self._handover)
            while True:
                with in_our_words():
                    batch = await self._consumer.getmany(timeout_ms=POLL_MILLISECONDS)
                # Nothing waits between the two: a batch is ours only as long as its partitions are not handed over.
                async with self._handover.working:
                    await self._take_up()
                    await self._settle_each(batch)
        finally:
            for timer in self._waiting:
                timer.cancel()
            await _stop_quietly(self._consumer)
            await _stop_quietly(self._parking)

    async def _take_up(self) -> None:
        """Have what another dialect parked in the partitions that we were just given delivered again."""
        if not self._handover.is_new:
            return
        self._handover.is_new = False
        parked = KafkaParkedMessages(self._bootstrap, (self._subscription.group,))
        await parked.take_up(self._attempts.dialect, self._consumer.assignment())

    async def _settle_each(self, batch: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Settle what came from the partitions of each number, side by side."""
        async with asyncio.TaskGroup() as numbers:
            for number in {partition.partition for partition in batch}:
                same = {one: records for one, records in batch.items() if one.partition == number}
                numbers.create_task(self._settle_all(same))

    async def _settle_all(self, batch: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        end = asyncio.get_running_loop().time() + BATCH_SECONDS_MAX
        for partition, records in batch.items():
            await self._settle_in_order(partition, records, end)

    async def _settle_in_order(
        self, partition: TopicPartition, records: Sequence[ConsumerRecord], end: float
    ) -> None:
        for record in records:
            if self._handover.is_asked:
                return  # whoever has the partition next begins here
            key = (partition.topic, partition.partition, record.offset)
            if asyncio.get_running_loop().time() > end:
                attempt = Attempt(Outcome.RETRY)  # at once, with the next batch
            else:
                attempt = await self._attempts.attempt(key, record.value or b"")
            try:
                with in_our_words():
                    if attempt.outcome is Outcome.RETRY:
                        self._come_back(partition, record.offset, attempt.delay_seconds)
                        return
                    if attempt.outcome is Outcome.PARK:
                        await self._park(record, attempt)
                    await self._consumer.commit({partition: record.offset + 1})
            except _RebalancedError as moved:
                logger.info("bus.rebalanced", extra={"reason": str(moved)})
                return

    def _come_back(self, partition: TopicPartition, offset: int, delay_seconds: float) -> None:
        """Read on from this offset after a delay, while the other partitions go on."""
        self._consumer.seek(partition, offset)
        self._consumer.pause(partition)

        def resume() -> None:
            self._waiting.discard(timer)
            if partition in self._consumer.assignment():
                self._consumer.resume(partition)

        timer = asyncio.get_running_loop().call_later(delay_seconds, resume)
        self._waiting.add(timer)

    async def _park(self, record: ConsumerRecord, attempt: Attempt) -> None:
        headers = [
            *_headers_as_it_came(record),
            ("parked_error", attempt.error.encode()),
            ("parked_awaits", attempt.awaits.encode()),
            ("parked_dialect", self._attempts.dialect.encode()),
            ("parked_from", record.topic.encode()),
            ("parked_partition", str(record.partition).encode()),
            ("parked_at", format_time(datetime.now(UTC)).encode()),
            ("parked_key", record.key or b""),
        ]
        await self._parking.send_and_wait(
            parked_topic_of(self._subscription.group),
            value=record.value or b"",
            key=str(new_id()).encode(),
            headers=headers,
        )


class KafkaParkedMessages:
    """Parked messages of some groups on Kafka; implements `shared.bus.consumer.ParkedMessages`.

    A parked message keeps its headers; its kind is `ce_type`, or the topic it came from when nobody said. Releasing
    sends it again to that topic as it came, then leaves a tombstone in the parked topic. Other groups hear it again
    too; to them it is a redelivery, which changes nothing.
    """

    def __init__(self, bootstrap: str, groups: Sequence[str] = SERVICES_THAT_CONSUME) -> None:
        """Use this cluster."""
        self._bootstrap = bootstrap
        self._topics = frozenset(map(parked_topic_of, groups))

    async def all(self) -> list[ParkedMessage]:
        """See `ParkedMessages.all`."""
        with in_our_words():
            records = await self._read()
        return [
            ParkedMessage(
                parked_id=parked_id,
                group=record.topic.removeprefix(parked_topic_of("")),
                kind=_header(record, "ce_type") or _header(record, "parked_from"),
                body=(record.value or b"").decode("utf-8", "replace"),
                error=_header(record, "parked_error"),
                parked_at=_header(record, "parked_at"),
                awaits=_header(record, "parked_awaits"),
            )
            for parked_id, record in records.items()
        ]

    async def release(self, parked_id: str) -> bool:
        """See `ParkedMessages.release`."""
        with in_our_words():
            record = (await self._read()).get(parked_id)
            if record is None:
                return False
            await self._send_again([record])
            return True

    async def take_up(self, dialect: str, partitions: Collection[TopicPartition]) -> None:
        """Release every message of these partitions that a version of another dialect could not take in."""
        with in_our_words():
            records = [
                one
                for one in (await self._read()).values()
                if _header(one, "parked_awaits") and _header(one, "parked_dialect") != dialect
                if _was_in(one, partitions)
            ]
            if records:
                await self._send_again(records)

    async def _send_again(self, records: Sequence[ConsumerRecord]) -> None:
        producer = _careful_producer(self._bootstrap)
        try:
            await producer.start()
            for record in records:
                key = _header(record, "parked_key").encode() or None
                topic, headers = _header(record, "parked_from"), _headers_as_it_came(record)
                await producer.send_and_wait(topic, value=record.value, key=key, headers=headers)
                await producer.send_and_wait(record.topic, value=None, key=record.key)
        finally:
            await _stop_quietly(producer)

    async def _read(self) -> dict[str, ConsumerRecord]:
        """Return every parked record not released yet, by its id."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        try:
            await consumer.start()
            partitions = [TopicPartition(topic, 0) for topic in sorted(self._topics & await consumer.topics())]
            if not partitions:
                return {}
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            parked: dict[str, ConsumerRecord] = {}
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    batch = await consumer.getmany(partition, timeout_ms=POLL_MILLISECONDS)
                    for record in batch.get(partition, []):
                        parked_id = (record.key or b"").decode()
                        if record.value is None:
                            parked.pop(parked_id, None)
                        else:
                            parked[parked_id] = record
            return parked
        finally:
            await _stop_quietly(consumer)


async def create_topics(bootstrap: str, topics: Sequence[Topic], *, replication: int) -> list[str]:
    """Create the topics that do not exist yet; return the names of those created.

    Three copies or more are written to two brokers at least before a fact counts as published: what one broker alone
    has said yes to would be lost with it, and `relay` would not publish it again.
    """
    safety = {"min.insync.replicas": "2"} if replication >= 3 else {}
    with in_our_words():
        async with admin(bootstrap) as client:
            known = set(await client.list_topics())
            missing = [topic for topic in topics if topic.name not in known]
            wanted = [
                NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config | safety)
                for topic in missing
            ]
            if wanted:
                try:
                    await client.create_topics(wanted)
                except TopicAlreadyExistsError:
                    logger.info("topics.created_elsewhere")
            return [topic.name for topic in missing]


def _careful_producer(bootstrap: str) -> AIOKafkaProducer:
    """Return a producer that writes once, in order, and to every replica before it says so."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_request_size=MESSAGE_BYTES_MAX,
        request_timeout_ms=REQUEST_MILLISECONDS,
    )


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Lend a client that asks a cluster about itself, and changes its topics."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


def _header(record: ConsumerRecord, name: str) -> str:
    return next((value.decode("utf-8", "replace") for key, value in record.headers if key == name), "")


def _was_in(record: ConsumerRecord, partitions: Collection[TopicPartition]) -> bool:
    """Say whether a message was parked from one of these partitions, or when nobody wrote down from which."""
    number = _header(record, "parked_partition")
    return not number or TopicPartition(_header(record, "parked_from"), int(number)) in partitions


def _headers_as_it_came(record: ConsumerRecord) -> list[tuple[str, bytes]]:
    """Return the headers of a message, without those that parking it added."""
    return [(name, value) for name, value in record.headers if not name.startswith("parked_")]


async def _stop_quietly(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client of a cluster that may be gone; what it says about it helps nobody."""
    try:
        async with asyncio.timeout(5):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.debug("kafka.stop", extra={"reason": str(error)})

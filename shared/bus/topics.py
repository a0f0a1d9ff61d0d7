"""The Kafka topics: one per kind of fact, created from this one table."""

from dataclasses import dataclass

from shared.facts.fact import Fact, kind_of
from shared.facts.recorders import SERVICES_THAT_CONSUME
from shared.facts.streams import ALL_FACTS

_DAY_MS = 24 * 3600 * 1000
PARTITIONS = 6
# Facts are bounded where they are decided, far below this; Kafka's own limit of 1 MiB would leave little margin.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
RETENTION_DAYS = 30  # the journal is the truth; a topic only has to outlive the longest outage of a consumer


@dataclass(frozen=True)
class Topic:
    """One topic: `partitions` bounds how many processes share the work, `config` is Kafka's own."""

    name: str
    partitions: int
    config: dict[str, str]


def topic_of(kind: str) -> str:
    """Return the topic of a kind of fact: `flux.signed.v1` goes to `pes.flux.signed`."""
    return "pes." + kind.rsplit(".v", 1)[0]


def parked_topic_of(group: str) -> str:
    """Return the topic where a consumer group parks what it cannot read."""
    return f"pes.parked.{group}"


def topics_of(facts: tuple[type[Fact], ...]) -> list[str]:
    """Return the topics that carry these facts."""
    return [topic_of(kind_of(fact)) for fact in facts]


_SIZE = {"max.message.bytes": str(MESSAGE_BYTES_MAX)}

# Every topic there is: facts age out; parked messages stay until they are released (a tombstone).
TOPICS: tuple[Topic, ...] = (
    *(
        Topic(name, PARTITIONS, {"retention.ms": str(RETENTION_DAYS * _DAY_MS), **_SIZE})
        for name in sorted(set(topics_of(ALL_FACTS)))
    ),
    *(
        Topic(parked_topic_of(service), 1, {"cleanup.policy": "compact", **_SIZE})
        for service in SERVICES_THAT_CONSUME
    ),
)

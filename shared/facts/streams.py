"""The four kinds of stream that the journal is made of: nothing that a person or the platform decides stands outside.

| stream         | one for each                                  | facts            | which may follow which      |
|----------------|-----------------------------------------------|------------------|-----------------------------|
| `flux`         | imported file                                 | `.flux`          | `.lifecycles.flux`          |
| `reply`        | answer of DGFiP that belongs to no flux (yet) | `.reply`         | `.lifecycles.reply`         |
| `collectivite` | collectivité                                  | `.collectivite`  | `.lifecycles.collectivite`  |
| `platform`     | kind of thing that an operator runs           | `.platform`      | `.lifecycles.platform`      |

A flux and a reply are known by an id of their own. The id of the others follows from their name, so that everybody
finds them without a table: see `collectivite_stream` and `platform_stream`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from shared.facts.collectivite import COLLECTIVITE_FACTS
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FLUX_FACTS
from shared.facts.platform import PLATFORM_FACTS, PLATFORM_STREAMS
from shared.facts.reply import REPLY_FACTS

EVERY_COLLECTIVITE: Final = "*"  # whose streams the platform's are
UNATTRIBUTED: Final = "unattributed"  # whose streams are those of replies that belong to nobody yet
_NAMES: Final = UUID("8f3c1d52-6a0e-5b7d-9c41-2f6e0d7a9b13")  # never changes: ids of streams follow from it


class StreamKind(StrEnum):
    """What a stream is about."""

    FLUX = "flux"
    REPLY = "reply"
    COLLECTIVITE = "collectivite"
    PLATFORM = "platform"


@dataclass(frozen=True)
class Stream:
    """One stream: what it is about, and its id."""

    kind: StreamKind
    id: UUID


FACTS_OF: Final[dict[StreamKind, tuple[type[Fact], ...]]] = {
    StreamKind.FLUX: FLUX_FACTS,
    StreamKind.REPLY: REPLY_FACTS,
    StreamKind.COLLECTIVITE: COLLECTIVITE_FACTS,
    StreamKind.PLATFORM: PLATFORM_FACTS,
}
ALL_FACTS: Final[tuple[type[Fact], ...]] = tuple(dict.fromkeys(fact for facts in FACTS_OF.values() for fact in facts))

BY_KIND: Final[dict[str, type[Fact]]] = {kind_of(fact): fact for fact in ALL_FACTS}


def flux_stream(flux_id: UUID) -> Stream:
    """Return the stream of a flux."""
    return Stream(StreamKind.FLUX, flux_id)


def reply_stream(reply_id: UUID) -> Stream:
    """Return the stream of a reply that belongs to no flux."""
    return Stream(StreamKind.REPLY, reply_id)


def collectivite_stream(siren: str) -> Stream:
    """Return the stream of a collectivité."""
    return Stream(StreamKind.COLLECTIVITE, uuid5(_NAMES, f"{StreamKind.COLLECTIVITE}:{siren}"))


def platform_stream(name: str) -> Stream:
    """Return one of the platform's streams.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in PLATFORM_STREAMS:
        raise ValueError(f"the platform has no stream {name!r}")
    return Stream(StreamKind.PLATFORM, uuid5(_NAMES, f"{StreamKind.PLATFORM}:{name}"))


def decisions_stream(collectivite: str) -> Stream:
    """Return the stream of what is decided for a collectivité, or (`*`) for all of them at once."""
    return platform_stream("defaults") if collectivite == EVERY_COLLECTIVITE else collectivite_stream(collectivite)


def stream_id_of(address: str) -> UUID:
    """Return the id of the stream that a person or a program names.

    Args:
        address: an id, or `collectivite:213499908`, or `platform:packs`.

    Raises:
        ValueError: it names no stream.
    """
    kind, _, name = address.partition(":")
    match kind:
        case StreamKind.COLLECTIVITE if name:
            return collectivite_stream(name).id
        case StreamKind.PLATFORM:
            return platform_stream(name).id
        case _:
            return UUID(address)

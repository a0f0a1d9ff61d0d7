"""The lifecycle of the platform's streams: each is about one kind of thing, and takes no fact of another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from shared.facts.collectivite import CircuitSet, PolicySet, SealChosen, SealLeft
from shared.facts.fact import Fact
from shared.facts.lifecycles.choices import Choices
from shared.facts.lifecycles.playing import following, play
from shared.facts.platform import MessageReleased, PackChanged, PackInstalled, SettingsApplied


class State(StrEnum):
    """What a stream of the platform is about (`shared.facts.platform.PLATFORM_STREAMS`)."""

    PACKS = "packs"
    DEFAULTS = "defaults"
    BUS = "bus"
    SETTINGS = "settings"


_DEFAULTS: dict[type[Fact], State] = dict.fromkeys((CircuitSet, PolicySet, SealChosen, SealLeft), State.DEFAULTS)

TRANSITIONS: dict[State | None, dict[type[Fact], State]] = {
    None: {PackInstalled: State.PACKS, MessageReleased: State.BUS, SettingsApplied: State.SETTINGS, **_DEFAULTS},
    State.PACKS: {PackInstalled: State.PACKS, PackChanged: State.PACKS},
    State.DEFAULTS: _DEFAULTS,
    State.BUS: {MessageReleased: State.BUS},
    State.SETTINGS: {SettingsApplied: State.SETTINGS},
}


@dataclass(frozen=True)
class Platform:
    """A stream of the platform as its facts tell it.

    Attributes:
        version: how many facts; what an append must expect. It makes it no other stream.
        packs: the packs installed, by their id, each as it applies now.
        choices: what holds for whoever said nothing of it.
        settings: what each service runs with, by its name.
    """

    state: State | None = None
    version: int = field(default=0, compare=False)
    packs: Mapping[str, PackInstalled] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def evolve(self, fact: Fact) -> Self:
        """Return the stream after `fact`.

        Raises:
            UnexpectedFactError: the table has no such transition.
        """
        state, choices = following(TRANSITIONS, self.state, fact), self.choices.evolve(fact)
        after = replace(self, state=state, version=self.version + 1, choices=choices)
        match fact:
            case PackInstalled():
                return replace(after, packs={**self.packs, fact.pack.pack_id: fact})
            case PackChanged() if fact.pack_id in self.packs:
                now = fact.model_dump(include={"use", "effective_from", "effective_until"})
                changed = self.packs[fact.pack_id].model_copy(update=now)
                return replace(after, packs={**self.packs, fact.pack_id: changed})
            case SettingsApplied():
                return replace(after, settings={**self.settings, fact.service: fact.settings})
            case _:
                return after


def fold(facts: Iterable[Fact]) -> Platform:
    """Play facts in order, from nothing; see `play`."""
    return play(Platform(), facts)

"""Every fact about what an operator runs for all; one stream for each kind of thing (`PLATFORM_STREAMS`).

- `packs`: the schema packs, and when each applies.
- `defaults`: what holds for every collectivité that has not said otherwise: circuits, controls, the seal.
- `bus`: what was done by hand with messages.
- `settings`: what each service was installed with, as far as the fate of a flux depends on it.
"""

from datetime import date
from typing import Annotated, Literal, get_args

from pydantic import Field

from pes.vocabulary import Pack
from shared.facts.collectivite import CircuitSet, PolicySet, SealChosen, SealLeft
from shared.facts.fact import Fact

PackUse = Literal["active", "shadow", "inactive"]


class PackInstalled(Fact):
    """A schema pack is there, under this digest; it judges (`active`), is on trial (`shadow`), or neither.

    It applies from a day (included) until a day (excluded), or without end.
    """

    kind: Literal["pack.installed.v1"] = "pack.installed.v1"
    pack: Pack
    use: PackUse
    effective_from: date
    effective_until: date | None = None
    reason: str = ""


class PackChanged(Fact):
    """A schema pack applies so from now on, whatever was said before."""

    kind: Literal["pack.changed.v1"] = "pack.changed.v1"
    pack_id: str
    use: PackUse
    effective_from: date
    effective_until: date | None = None
    reason: str = ""


class MessageReleased(Fact):
    """A message that a service had set aside is delivered to it again."""

    kind: Literal["message.released.v1"] = "message.released.v1"
    group: str
    message_id: str
    message_kind: str
    reason: str


class SettingsApplied(Fact):
    """From now on a service runs with these settings: those of its own that the fate of a flux depends on.

    Whoever installed the service chose them, outside the platform, which knows when they began to apply, and no more.
    `settings` has each by its name in the environment; for a folder or a file, the SHA-256 of its certificates.
    """

    kind: Literal["settings.applied.v1"] = "settings.applied.v1"
    service: str
    settings: dict[str, str]


PlatformFact = Annotated[
    PackInstalled | PackChanged | CircuitSet | PolicySet | SealChosen | SealLeft | MessageReleased | SettingsApplied,
    Field(discriminator="kind"),
]

PLATFORM_FACTS: tuple[type[Fact], ...] = get_args(get_args(PlatformFact)[0])
PLATFORM_STREAMS = ("packs", "defaults", "bus", "settings")

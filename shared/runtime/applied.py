"""What a service was installed with is told in the platform's stream, as far as the fate of a flux depends on it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pydantic import SecretStr

from shared.errors import MalformedMessageError
from shared.facts.fact import Fact
from shared.facts.lifecycles import platform
from shared.facts.platform import SettingsApplied
from shared.facts.streams import EVERY_COLLECTIVITE, platform_stream
from shared.journal.decisions import decide_in
from shared.journal.history import History
from shared.retrying import until_it_answers
from shared.runtime.settings import HttpSettings

logger = logging.getLogger(__name__)


def told(settings: HttpSettings, names: Sequence[str]) -> dict[str, str]:
    """Return these settings as the fact tells them, by their names in the environment.

    Raises:
        ValueError: one of them is a secret.
    """
    values = {name: getattr(settings, name) for name in names}
    secret = [name for name, value in values.items() if isinstance(value, SecretStr)]
    if secret:
        raise ValueError(f"{secret[0]} is a secret, and no fact tells it")
    return {name.upper(): str(value) for name, value in values.items()}


def decide(past: Sequence[Fact], applied: SettingsApplied) -> list[SettingsApplied]:
    """Return the fact, unless the last one of that service told the same."""
    return [] if platform.fold(past).settings.get(applied.service) == applied.settings else [applied]


async def record_settings(
    service: str, settings: Mapping[str, str], *, history: History, now: Callable[[], datetime]
) -> None:
    """Record that a service runs with these settings, once the journal answers; nothing when it was said last."""
    applied = SettingsApplied(service=service, settings=dict(settings))

    async def decided(past: Sequence[Fact]) -> list[SettingsApplied]:
        return decide(past, applied)

    async def record() -> None:
        await decide_in(
            platform_stream("settings"),
            decided,
            collectivite=EVERY_COLLECTIVITE,
            actor=service,
            history=history,
            now=now,
        )

    try:
        await until_it_answers(record, outage="settings.not_recorded")
    except MalformedMessageError:  # a newer version works beside this one, and tells its own
        logger.warning("settings.not_recorded", extra={"reason": "a newer version records there"})

"""What a service was installed with is told once, and again when it has changed."""

from datetime import UTC, datetime
from importlib import import_module
from uuid import UUID

import pytest

from services.ack import settings as ack
from services.gateway import settings as gateway
from services.signature import settings as signature
from services.validation import settings as validation
from shared.errors import NewerFactError
from shared.facts.envelope import Event
from shared.facts.platform import SettingsApplied
from shared.facts.recorders import RECORDED_BY, SERVICES_THAT_CONSUME
from shared.facts.streams import EVERY_COLLECTIVITE, platform_stream
from shared.runtime.applied import record_settings, told
from shared.runtime.settings import HttpSettings
from tests.fakes.memory_history import MemoryHistory

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
HOLD, RESEND = {"IN_DOUBT_POLICY": "hold"}, {"IN_DOUBT_POLICY": "resend"}


async def recorded(*starts: tuple[str, dict[str, str]]) -> list[Event]:
    """Return the stream after services have started so, one after the other."""
    history = MemoryHistory()
    for service, settings in starts:
        await record_settings(service, settings, history=history, now=lambda: NOON)
    return await history.load(platform_stream("settings").id)


async def test_what_a_service_starts_with_is_a_fact_of_the_platform() -> None:
    [event] = await recorded(("gateway", HOLD))
    assert event.data == SettingsApplied(service="gateway", settings=HOLD)
    assert (event.collectivite, event.actor, event.occurred_at) == (EVERY_COLLECTIVITE, "gateway", NOON)


async def test_started_again_with_the_same_it_says_nothing_more() -> None:
    starts = [("gateway", HOLD), ("ack", RESEND), ("gateway", HOLD), ("ack", RESEND)]
    assert [event.data for event in await recorded(*starts)] == [
        SettingsApplied(service="gateway", settings=HOLD),
        SettingsApplied(service="ack", settings=RESEND),
    ]


async def test_a_change_and_a_change_back_are_both_told() -> None:
    events = await recorded(("gateway", HOLD), ("gateway", RESEND), ("gateway", HOLD))
    assert [event.data for event in events] == [
        SettingsApplied(service="gateway", settings=one) for one in (HOLD, RESEND, HOLD)
    ]


class NewerHistory(MemoryHistory):
    """A journal in which a newer version told its settings otherwise."""

    async def load(self, stream_id: UUID) -> list[Event]:
        raise NewerFactError("settings.applied.v2", f"a newer version wrote in {stream_id}")


async def test_beside_a_newer_version_that_records_there_a_service_starts_all_the_same() -> None:
    history = NewerHistory()
    await record_settings("gateway", HOLD, history=history, now=lambda: NOON)
    assert history.log == []


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (gateway.Settings, gateway.DECIDING),
        (ack.Settings, ack.DECIDING),
        (signature.Settings, signature.DECIDING),
        (validation.Settings, validation.DECIDING),
    ],
)
def test_what_a_service_tells_is_what_it_reads_and_no_secret(
    settings: type[HttpSettings], names: tuple[str, ...]
) -> None:
    values = settings.model_construct()
    for name in names:
        object.__setattr__(values, name, name)
    assert told(values, names) == {name.upper(): name for name in names}
    assert set(names) <= set(settings.model_fields)


@pytest.mark.parametrize("service", SERVICES_THAT_CONSUME)
def test_every_service_that_acts_on_facts_tells_its_settings(service: str) -> None:
    assert SettingsApplied in RECORDED_BY[service]
    assert import_module(f"services.{service}.settings").DECIDING


def test_a_secret_is_never_told() -> None:
    values = gateway.Settings.model_construct()
    with pytest.raises(ValueError, match="sftp_password"):
        told(values, ("p_dest", "sftp_password"))

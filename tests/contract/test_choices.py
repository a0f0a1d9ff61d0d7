"""What the collectivités chose, in PostgreSQL and in memory: the same for the gateway."""

from datetime import UTC, datetime

import pytest

from services.gateway.adapters.choices import PostgresChoices
from services.gateway.ports import Choices
from shared.facts.streams import collectivite_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from tests import examples as an
from tests.callers import OTHER_COMMUNE
from tests.fakes.chosen_channels import ChosenChannels
from tests.recording import begun


@pytest.fixture(params=["postgres", "memory"])
async def choices(request: pytest.FixtureRequest, database: Database) -> Choices:
    """Two collectivités: one chose a channel, another opened and chose none."""
    if request.param == "memory":
        return ChosenChannels({an.collectivite: an.channel_chosen.channel})
    for siren, facts in ((an.collectivite, [an.opened, an.channel_chosen]), (OTHER_COMMUNE, [an.opened])):
        events = [
            begun(fact, stream=collectivite_stream(siren), collectivite=siren, actor="olga", at=datetime.now(UTC))
            for fact in facts
        ]
        await PostgresHistory(database).append(events, expected_version=0)
    return PostgresChoices(database)


@pytest.mark.parametrize(
    ("siren", "channel"), [(an.collectivite, "passtrans-sftp"), (OTHER_COMMUNE, ""), ("099000010", "")]
)
async def test_a_collectivite_leaves_by_the_channel_that_it_chose(choices: Choices, siren: str, channel: str) -> None:
    assert await choices.channel_of(siren) == channel

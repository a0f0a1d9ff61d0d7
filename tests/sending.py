"""A gateway on real parts, for tests of what it sends and of what comes back."""

from typing import Protocol

from services.gateway.adapters.markers import Named, StoredMarkers
from services.gateway.decide import Rules
from services.gateway.handler import Sender
from services.gateway.ports import Channel, Documents
from shared.journal.history import History
from tests.fakes.chosen_channels import ChosenChannels
from tests.recording import NOON


class Stored(Documents, Named, Protocol):
    """Documents, with markers beside them."""


RULES = Rules(in_doubt_seconds=60, in_doubt_policy="hold", refusals_max=3, refused_retry_seconds=10)
GROWTH_SECONDS_MAX = 0.01


def sender_of(history: History, documents: Stored, channel: Channel, rules: Rules = RULES) -> Sender:
    """Return a gateway on these parts, whose collectivités chose no channel, at noon."""
    return Sender(
        history=history,
        documents=documents,
        markers=StoredMarkers(documents),
        channels={channel.name: channel},
        usual=channel.name,
        choices=ChosenChannels(),
        now=lambda: NOON,
        rules=rules,
        p_dest="VHPCE11",
        p_appli="THELPES2",
        growth_seconds_max=GROWTH_SECONDS_MAX,
    )

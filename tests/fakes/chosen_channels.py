"""What the collectivités chose, in memory."""

from dataclasses import dataclass, field


@dataclass
class ChosenChannels:
    """Stands in for `services.gateway.adapters.choices`; a collectivité that is not in it chose none."""

    channels: dict[str, str] = field(default_factory=dict)

    async def channel_of(self, siren: str) -> str:
        """Return the channel that a collectivité chose."""
        return self.channels.get(siren, "")

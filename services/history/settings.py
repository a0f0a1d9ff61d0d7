"""What `history` reads from its environment."""

from pydantic import Field

from shared.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `history`; see `ServiceSettings` for those that all services share.

    Attributes:
        batch_facts_max: how many facts are taken into the lists at a time.
    """

    http_port: int = Field(default=8407, ge=1, le=65535)
    batch_facts_max: int = Field(default=500, ge=1, le=10_000)

"""What `relay` reads from its environment."""

from pydantic import Field

from shared.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `relay`; see `ServiceSettings` for those that all services share.

    Attributes:
        batch_facts_max: how many facts are ordered, or published, at a time.
        poll_seconds: how often to look when no notification comes.
        topics_replication: copies of each topic that the relay creates (3 in production, 1 on a single broker).
    """

    http_port: int = Field(default=8406, ge=1, le=65535)
    batch_facts_max: int = Field(default=1000, ge=1, le=10_000)
    poll_seconds: float = Field(default=0.5, gt=0)
    topics_replication: int = Field(default=1, ge=1)

"""What `validation` reads from its environment."""

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `validation`; see `ServiceSettings` for those that all services share."""

    http_port: int = Field(default=8402, ge=1, le=65535)

"""What `ingest` reads from its environment."""

from pydantic import Field

from pes.units import MEBIBYTE
from shared.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `ingest`; see `ServiceSettings` for those that all services share.

    Attributes:
        file_bytes_max: the largest file taken, in bytes (128 MiB: what the field's tools take, helios.md 2.7).
        files_max: how many files one request may hold.
        history_url: the address of `history`, for links to flux, where services have an address each. Behind a proxy
            (it says `X-Forwarded-Proto`) links are paths, whatever this says.
    """

    http_port: int = Field(default=8401, ge=1, le=65535)
    file_bytes_max: int = Field(default=128 * MEBIBYTE, ge=1)
    files_max: int = Field(default=50, ge=1, le=1000)
    history_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")

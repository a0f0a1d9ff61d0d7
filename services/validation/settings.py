"""What `validation` reads from its environment."""

import os
from pathlib import Path

from pydantic import Field

from pes.units import MEBIBYTE
from shared.runtime.settings import ServiceSettings

# What a flux' fate depends on: told in the platform's stream.
DECIDING = (
    "clamd",
    "worker_seconds_max",
    "worker_memory_bytes_max",
    "attachment_bytes_max",
)


class Settings(ServiceSettings):
    """The settings of `validation`; see `ServiceSettings` for those that all services share.

    Attributes:
        http_port: port the service listens on.
        clamd: the antivirus, as `unix:///run/clamav/clamd.ctl` or `tcp://host:3310`; empty for none.
        clamd_seconds_max: how long the antivirus may take for one file.
        workers: how many files are judged at a time; 0 for as many as the machine has processors.
        worker_seconds_max: how long one file may take; a worker that takes longer is ended.
        worker_memory_bytes_max: the address space of one worker.
        file_bytes_max: the largest file that is checked without being imported.
        files_max: how many files one request may bring.
        attachment_bytes_max: what one attachment may come to, once decompressed.
        scratch_folder: where files lie while they are looked at; empty for the system's place for temporary files.
    """

    http_port: int = Field(default=8402, ge=1, le=65535)
    clamd: str = Field(default="", pattern=r"^(|unix:///.+|tcp://[^:/]+:[0-9]{1,5})$")
    clamd_seconds_max: float = Field(default=60.0, gt=0)
    workers: int = Field(default=0, ge=0, le=64)
    worker_seconds_max: float = Field(default=60.0, gt=0)
    worker_memory_bytes_max: int = Field(default=4096 * MEBIBYTE, ge=256 * MEBIBYTE)
    file_bytes_max: int = Field(default=128 * MEBIBYTE, ge=1)
    files_max: int = Field(default=100, ge=1)
    attachment_bytes_max: int = Field(default=256 * MEBIBYTE, ge=1)
    scratch_folder: Path | None = None

    @property
    def workers_wanted(self) -> int:
        """How many workers to run."""
        return self.workers or len(os.sched_getaffinity(0))

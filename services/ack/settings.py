"""What `ack` reads from its environment."""

from pydantic import Field

from pes.units import MEBIBYTE
from shared.runtime.sftp import SftpSettings

LEAVE_IN_PLACE = "-"  # an empty variable counts as absent (`ServiceSettings`), so it cannot mean this
# What a flux' fate depends on: told in the platform's stream.
DECIDING = ("sftp_host", "sftp_port", "reply_directory", "done_directory", "reply_bytes_max")


class Settings(SftpSettings):
    """The settings of `ack`; see `SftpSettings` and `ServiceSettings` for those it shares.

    Attributes:
        done_directory: where a reply is moved once recorded; `-` leaves it where it is, and the policy `resend` of
            `gateway` then sends nothing again: a reply always waits.
        poll_seconds: how often to look for replies.
        settle_seconds: how long a new file must stay the same to be taken, if that is less than `poll_seconds`:
            DGFiP's files can be seen while they grow (helios.md 6.5).
        reply_bytes_max: the largest reply taken, in bytes (200 MiB: some above 150 MB were seen, helios.md 12).
    """

    http_port: int = Field(default=8405, ge=1, le=65535)
    done_directory: str = Field(default="/traite", min_length=1)
    poll_seconds: float = Field(default=60.0, gt=0, le=3600)
    settle_seconds: float = Field(default=5.0, gt=0, le=3600)
    reply_bytes_max: int = Field(default=200 * MEBIBYTE, ge=1)

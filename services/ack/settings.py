"""What `ack` reads from its environment."""

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings

MEBIBYTE = 1024 * 1024
LEAVE_IN_PLACE = "-"  # an empty variable counts as absent (`ServiceSettings`), so it cannot mean this


class Settings(ServiceSettings):
    """The settings of `ack`; see `ServiceSettings` for those that all services share.

    Attributes:
        sftp_host: DGFiP's server.
        sftp_port: its port.
        sftp_user: the login that DGFiP gave us.
        sftp_password: its password. Secret.
        known_hosts_file: the host key that the server must have, in OpenSSH's `known_hosts` form.
        replies_directory: where DGFiP puts its replies.
        done_directory: where a reply is moved once recorded; `-` leaves it where it is.
        poll_seconds: how often to look for replies.
        settle_seconds: how long a new file must stay the same to be taken, if that is less than `poll_seconds`:
            DGFiP's files can be seen while they grow (helios.md 6.5).
        reply_bytes_max: the largest reply taken, in bytes (200 MiB: some above 150 MB were seen, helios.md 12).
        connect_timeout_seconds: how long opening a connection may take.
        operation_timeout_seconds: how long one step may take: a listing, a piece of a file, a move.
    """

    http_port: int = Field(default=8405, ge=1, le=65535)
    sftp_host: str = Field(min_length=1)
    sftp_port: int = Field(default=22, ge=1, le=65535)
    sftp_user: str = Field(min_length=1)
    sftp_password: SecretStr
    known_hosts_file: Path
    replies_directory: str = Field(default="/sortie", min_length=1)
    done_directory: str = Field(default="/traite", min_length=1)
    poll_seconds: float = Field(default=60.0, gt=0, le=3600)
    settle_seconds: float = Field(default=5.0, gt=0, le=3600)
    reply_bytes_max: int = Field(default=200 * MEBIBYTE, ge=1)
    connect_timeout_seconds: float = Field(default=10.0, gt=0)
    operation_timeout_seconds: float = Field(default=60.0, gt=0)

"""What `gateway` reads from its environment."""

from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator

from services.gateway.decide import InDoubtPolicy
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `gateway`; see `ServiceSettings` for those that all services share.

    Attributes:
        sftp_host: DGFiP's SFTP server.
        sftp_port: its port.
        sftp_login: our login there.
        sftp_password: the password of that login, if it has one. Secret.
        sftp_key_file: the private key of that login, if it has one (OpenSSH format, without passphrase).
        known_hosts_file: the host keys of the server, pinned; nothing is sent to a server that has none of them.
        entry_directory: where files are put.
        reply_directory: where replies appear, and go from once they are collected.
        p_dest: code of the DGFiP server that the files are for (P_DEST, helios.md 6.2).
        p_appli: code of the application: GHELPES2 in production, THELPES2 in test (P_APPLI).
        connect_seconds_max: how long a connection may take.
        operation_seconds_max: how long the server may take over one request, or over one MiB of a file.
        in_doubt_seconds: how long a lack of reply must last before it proves that a file did not arrive.
        in_doubt_policy: what then: `hold` waits for a person, `resend` sends again.
        refusals_max: after how many refusals of one flux by the server it waits for a person.
        refused_retry_seconds: how long after the first refusal it is tried again; twice as long after each next.
        holds_review_seconds: how often suspended flux are looked at.
    """

    http_port: int = Field(default=8404, ge=1, le=65535)
    sftp_host: str = Field(min_length=1)
    sftp_port: int = Field(default=22, ge=1, le=65535)
    sftp_login: str = Field(min_length=1)
    sftp_password: SecretStr = SecretStr("")
    sftp_key_file: FilePath | None = None
    known_hosts_file: FilePath
    entry_directory: str = Field(default="/entree", pattern=r"^/")
    reply_directory: str = Field(default="/sortie", pattern=r"^/")
    p_dest: str = Field(default="VHPCE11", pattern=r"^\s*[A-Za-z0-9_-]+\s*$")
    p_appli: str = Field(default="THELPES2", pattern=r"^\s*[A-Za-z0-9_-]+\s*$")
    connect_seconds_max: float = Field(default=10.0, gt=0)
    operation_seconds_max: float = Field(default=30.0, gt=0)
    in_doubt_seconds: float = Field(default=4 * 3600.0, gt=0)
    in_doubt_policy: InDoubtPolicy = "hold"
    refusals_max: int = Field(default=5, ge=1)
    refused_retry_seconds: float = Field(default=60.0, gt=0)
    holds_review_seconds: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _has_a_way_in(self) -> Self:
        if not self.sftp_password.get_secret_value() and self.sftp_key_file is None:
            raise ValueError("set SFTP_PASSWORD or SFTP_KEY_FILE: how we prove who we are to the SFTP server")
        return self

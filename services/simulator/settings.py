"""What `simulator` reads from its environment. It needs no database, no bus and no document store."""

from pathlib import Path

from pydantic import Field, SecretStr

from pes.units import MEBIBYTE
from shared.runtime.settings import HttpSettings


class Settings(HttpSettings):
    """The settings of `simulator`.

    Attributes:
        simulator_folder: where its files are: what SFTP clients see (`sftp/`), receipts, host key, `known_hosts`.
        sftp_host: address the SFTP server listens on.
        sftp_port: port the SFTP server listens on.
        sftp_login: the one login it knows.
        sftp_password: the password of that login. Secret.
        file_bytes_max: the largest file it takes, in bytes.
    """

    simulator_folder: Path
    sftp_host: str = "127.0.0.1"
    sftp_port: int = Field(default=8422, ge=1, le=65535)
    sftp_login: str = Field(default="heliotrope", min_length=1)
    sftp_password: SecretStr = Field(min_length=1)
    file_bytes_max: int = Field(default=200 * MEBIBYTE, ge=1)
    http_port: int = Field(default=8408, ge=1, le=65535)

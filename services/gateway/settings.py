"""What `gateway` reads from its environment."""

from pydantic import Field

from services.gateway.decide import InDoubtPolicy
from shared.runtime.sftp import SftpSettings

DECIDING = (
    "p_dest",
    "p_appli",
    "in_doubt_policy",
    "in_doubt_seconds",
    "refusals_max",
    "refused_retry_seconds",
    "sftp_host",
    "sftp_port",
    "entry_directory",
)  # what a flux' fate depends on: told in the platform's stream


class Settings(SftpSettings):
    """The settings of `gateway`; see `SftpSettings` and `ServiceSettings` for those it shares.

    Attributes:
        p_dest: code of the DGFiP server that the files are for (P_DEST, helios.md 6.2).
        p_appli: code of the application: GHELPES2 in production, THELPES2 in test (P_APPLI).
        in_doubt_policy: who settles what a cut left in doubt, if no reply does: `hold`, a person; `resend`, we do,
            and send again.
        in_doubt_seconds: how long a lack of reply must last, under `resend`, to prove that a file did not arrive.
        refusals_max: after how many refusals of one flux by the server it waits for a person.
        refused_retry_seconds: how long after the first refusal it is tried again; twice as long after each next.
        holds_review_seconds: how often suspended flux are looked at.
    """

    http_port: int = Field(default=8404, ge=1, le=65535)
    p_dest: str = Field(default="VHPCE11", pattern=r"^\s*[A-Za-z0-9_-]+\s*$")
    p_appli: str = Field(default="THELPES2", pattern=r"^\s*[A-Za-z0-9_-]+\s*$")
    in_doubt_seconds: float = Field(default=4 * 3600.0, gt=0)
    in_doubt_policy: InDoubtPolicy = "hold"
    refusals_max: int = Field(default=5, ge=1, le=20)
    refused_retry_seconds: float = Field(default=60.0, gt=0)
    holds_review_seconds: float = Field(default=1.0, gt=0)

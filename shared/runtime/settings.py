"""What every service reads from its environment. Read once, in `__main__`; deeper code receives values.

Each service's own settings extend these, with its unit in the name of every bound. The start fails naming what is
missing or wrong.
"""

from typing import Literal

from pydantic import Field, FilePath, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class HttpSettings(BaseSettings):
    """What a service needs to answer over HTTP; the environment variable is the field's name in capitals.

    Attributes:
        jwks_file: public keys that tokens are checked with (JWKS, RFC 7517).
        token_issuer: the `iss` that tokens must carry.
        http_host: address the service listens on.
        http_port: port the service listens on.
        log_level: the least serious level written.
        otlp_endpoint: where traces go, as `http://collector:4318`: an OpenTelemetry collector (OTLP over HTTP); empty
            for no traces.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    jwks_file: FilePath
    token_issuer: str = "heliotrope"  # noqa: S105  # a name, not a secret
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=1, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://\S+)?$")


class ServiceSettings(HttpSettings):
    """Base of the settings of every service of the platform itself.

    Attributes:
        database_url: PostgreSQL, as `postgresql://role:password@host/database`. Secret.
        bus: how facts are heard of: `postgres` (embedded) or `kafka`.
        kafka_bootstrap: `host:port`, several separated by commas; used when `bus` is `kafka`.
        documents_url: where documents are: `file:///folder` or `s3://bucket`.
        s3_endpoint: address of an S3-compatible store that is not Amazon's; empty for Amazon's.
        s3_access_key: the name of our key to the S3 store.
        s3_secret_key: the secret that goes with it. Secret.
        s3_region: where the bucket is, as the store calls it.
        database_connections_max: how many connections to PostgreSQL one process opens at most.
        request_seconds_max: how long PostgreSQL may take over one request, and over one connection.
    """

    database_url: SecretStr
    bus: Literal["postgres", "kafka"] = "postgres"
    kafka_bootstrap: str = "127.0.0.1:9092"
    documents_url: str = Field(pattern=r"^(file:///|s3://)")
    s3_endpoint: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    s3_region: str = "us-east-1"
    database_connections_max: int = Field(default=12, ge=2, le=200)
    request_seconds_max: float = Field(default=10.0, gt=0)

"""What `signature` reads from its environment."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `signature`; see `ServiceSettings` for those that all services share.

    Attributes:
        seal_key_file: the private key (PEM) that signs by itself whatever must be signed; without it, a flux that
            has to be signed waits for its signatories.
        seal_certificate_file: the certificate (PEM) of that key.
        seal_role: the role that the signature claims (helios.md 5.3).
        seal_city: where it is produced.
        seal_postal_code: the postal code of that place.
    """

    http_port: int = Field(default=8403, ge=1, le=65535)
    seal_key_file: Path | None = None
    seal_certificate_file: Path | None = None
    seal_role: str = "Ordonnateur"
    seal_city: str = "Paris"
    seal_postal_code: str = "75001"

"""What `signature` reads from its environment."""

from typing import Self

from pydantic import Field, FilePath, model_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of `signature`; see `ServiceSettings` for those that all services share.

    Attributes:
        seal_key_file: the private key (PEM) that signs by itself whatever must be signed; without it, a flux that
            has to be signed waits for its signatories.
        seal_certificate_file: the certificate (PEM) of that key; there must be both, or neither.
        seal_role: the role that the signature claims (helios.md 5.3).
        seal_city: where it is produced.
        seal_postal_code: the postal code of that place.
    """

    http_port: int = Field(default=8403, ge=1, le=65535)
    seal_key_file: FilePath | None = None
    seal_certificate_file: FilePath | None = None
    seal_role: str = "Ordonnateur"
    seal_city: str = "Paris"
    seal_postal_code: str = "75001"

    @model_validator(mode="after")
    def _has_both_halves_of_the_seal(self) -> Self:
        if (self.seal_key_file is None) != (self.seal_certificate_file is None):
            missing = "SEAL_KEY_FILE" if self.seal_key_file is None else "SEAL_CERTIFICATE_FILE"
            raise ValueError(f"set {missing} too: a seal is a key and its certificate")
        return self

"""What `signature` reads from its environment."""

from typing import Literal, Self

from pydantic import DirectoryPath, Field, FilePath, model_validator

from shared.facts.values import SIREN_SHAPE
from shared.runtime.settings import ServiceSettings

# What a flux' fate depends on: told in the platform's stream, with the certificates trusted and the seal's.
DECIDING = ("revocation_proof", "seal_role", "seal_city", "seal_postal_code")


class Settings(ServiceSettings):
    """The settings of `signature`; see `ServiceSettings` for those that all services share.

    Attributes:
        http_port: port the service listens on.
        trust_folder: the trust list: certificates of authorities, CRLs, OCSP answers; read again when it changes.
        revocation_proof: what to do with a certificate when nothing says that it is not revoked: `warn` or `require`.
        seal_key_file: the private key (PEM) that signs by itself for the collectivités that chose it.
        seal_certificate_file: the certificate (PEM) of that key; there must be both, or neither.
        seal_pkcs11_module: instead of these files, the library (PKCS#11) of the token that holds the key.
        seal_pkcs11_token: the label of that token.
        seal_pkcs11_pin_file: the file that holds its PIN.
        seal_pkcs11_certificate: the label or the SHA-256 of the certificate, when the token holds several.
        seal_collectivites: deprecated, read for one version more: SIRENs separated by commas, or `*`, for which the
            seal is chosen at the start, unless they said anything of it (`heliotrope seal`).
        seal_role: the role that the signature stated (helios.md 5.3).
        seal_city: where it is produced.
        seal_postal_code: the postal code of that place.
    """

    http_port: int = Field(default=8403, ge=1, le=65535)
    trust_folder: DirectoryPath
    revocation_proof: Literal["warn", "require"] = "warn"
    seal_key_file: FilePath | None = None
    seal_certificate_file: FilePath | None = None
    seal_pkcs11_module: FilePath | None = None
    seal_pkcs11_token: str = ""
    seal_pkcs11_pin_file: FilePath | None = None
    seal_pkcs11_certificate: str = ""
    seal_collectivites: str = Field(default="", pattern=rf"^(\*|({SIREN_SHAPE}(,{SIREN_SHAPE})*)?)$")
    seal_role: str = "Ordonnateur"
    seal_city: str = "Paris"
    seal_postal_code: str = "75001"

    @property
    def sealed_collectivites(self) -> frozenset[str]:
        """Who chose the seal; `*` for all."""
        return frozenset(one for one in self.seal_collectivites.split(",") if one)

    @model_validator(mode="after")
    def _has_a_whole_seal_or_none(self) -> Self:
        file = {"SEAL_KEY_FILE": self.seal_key_file, "SEAL_CERTIFICATE_FILE": self.seal_certificate_file}
        token = {
            "SEAL_PKCS11_MODULE": self.seal_pkcs11_module,
            "SEAL_PKCS11_TOKEN": self.seal_pkcs11_token,
            "SEAL_PKCS11_PIN_FILE": self.seal_pkcs11_pin_file,
        }
        for parts, what in ((file, "a key and its certificate"), (token, "a module, a token and its PIN")):
            missing = [name for name, value in parts.items() if not value]
            if missing and len(missing) < len(parts):
                raise ValueError(f"set {missing[0]} too: a seal is {what}")
        if all(file.values()) and all(token.values()):
            raise ValueError("a seal is in files or in a token (SEAL_PKCS11_…), not in both")
        if self.seal_collectivites and not all(file.values()) and not all(token.values()):
            raise ValueError("SEAL_COLLECTIVITES names who chose the seal, and there is no seal")
        return self

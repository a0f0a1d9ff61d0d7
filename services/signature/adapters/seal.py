"""The seal: a key in a PEM file that signs by itself, for a collectivité that chose it and for the demonstration."""

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.signature import xades
from shared.errors import UnavailableError


class PemSeal:
    """See `services.signature.ports.Seal`."""

    def __init__(self, key: RSAPrivateKey, certificate: x509.Certificate, claims: xades.Claims) -> None:
        """Sign with this key, under this certificate, claiming this role and place."""
        self._key = key
        self._certificate = certificate
        self._claims = claims

    @classmethod
    def from_files(cls, key_file: Path, certificate_file: Path, claims: xades.Claims) -> "PemSeal":
        """Read the key and its certificate.

        Raises:
            ValueError: the files do not hold an RSA key and a certificate.
        """
        key = load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError(f"{key_file} does not hold an RSA key")  # noqa: TRY004  # it is the file that is wrong
        return cls(key, x509.load_pem_x509_certificate(certificate_file.read_bytes()), claims)

    def sign(self, document: bytes, at: datetime) -> bytes:
        """See `Seal.sign`."""
        if not self._certificate.not_valid_before_utc <= at <= self._certificate.not_valid_after_utc:
            raise UnavailableError("seal", "its certificate is not valid now: put a valid one in its place")
        return xades.sign(
            document,
            certificate=self._certificate,
            private_key=self._key,
            signing_time=at,
            claims=self._claims,
        )

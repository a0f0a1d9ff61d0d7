"""The seal: a key that signs by itself. In a file, or in a token (PKCS#11)."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from shared.errors import UnavailableError
from signing import xades
from signing.keys import KeyUnusableError, SigningKey
from signing.outline import Target


class KeySeal:
    """See `services.signature.ports.Seal`."""

    def __init__(self, key: SigningKey, stated: xades.Stated) -> None:
        """Sign with this key, claiming this role and place."""
        self._key = key
        self._stated = stated

    @property
    def certificate(self) -> x509.Certificate:
        """See `Seal.certificate`."""
        return self._key.certificate

    def sign(self, document: bytes, chosen: Sequence[Target], at: datetime) -> bytes:
        """See `Seal.sign`."""
        certificate = self._key.certificate
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise UnavailableError("seal", "its certificate is not valid now: put a valid one in its place")
        try:
            return xades.sign_chosen(document, chosen, key=self._key, signing_time=at, stated=self._stated)
        except KeyUnusableError as error:
            raise UnavailableError("seal", str(error)) from error

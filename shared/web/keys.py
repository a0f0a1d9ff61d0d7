"""The public keys that tokens are checked with, as their file (JWKS, RFC 7517) says now: no restart to rotate a key.

The file is looked at when a token is to be checked, at a bounded pace. It is read again when it has changed, and when
a token names a key that it did not hold. While it cannot be read (away, or half written) the keys read last go on.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import jwt

from shared.web.auth import TokenChecker

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
FILE_BYTES_MAX: Final = 1024 * 1024

Keys = Mapping[str | None, jwt.PyJWK]
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)


class _Stamp(NamedTuple):
    """What changes when a file does."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Stamp":
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class KeyFile:
    """The keys of a JWKS file, looked at when one is asked for."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Read the keys; `clock` gives seconds that never go back. Raises what reading raises."""
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._stamp: _Stamp | None
        self._stamp, self._keys = _read(path)

    def key_of(self, kid: str | None) -> jwt.PyJWK:
        """Return the key of this name.

        Raises:
            KeyError: the file holds none, as far as we looked; a key just added is known within `LOOK_SECONDS`.
        """
        now = self._clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look(kid)
        return self._keys[kid]

    def _look(self, kid: str | None) -> None:
        try:
            if kid in self._keys and self._stamp == _Stamp.of(self._path.stat()):
                return
            self._stamp, self._keys = _read(self._path)
        except _UNREADABLE as error:
            if self._stamp is not None:  # once for each time that it breaks; a key would be in the error's own words
                logger.error(  # noqa: TRY400
                    "keys.unreadable", extra={"file": str(self._path), "reason": type(error).__name__}
                )
            self._stamp = None


def token_checker(path: Path, issuer: str, clock: Callable[[], float]) -> TokenChecker:
    """Return what checks tokens of an issuer, with the keys of its JWKS file."""
    return TokenChecker(KeyFile(path, clock).key_of, issuer)


def _read(path: Path) -> tuple[_Stamp, Keys]:
    """Read the keys of a file. Those of a kind unknown here are left out (RFC 7517, 5); it may hold none at all."""
    with path.open("rb") as file:
        stamp = _Stamp.of(os.fstat(file.fileno()))
        members = json.loads(file.read(FILE_BYTES_MAX))["keys"]
    keys: dict[str | None, jwt.PyJWK] = {}
    for member in members:
        with suppress(jwt.PyJWTError):
            key = jwt.PyJWK(member)
            keys[key.key_id] = key
    return stamp, keys

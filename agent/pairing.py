"""Ties a page to the agent: who can read the code on this computer's screen may talk to it, and nobody else.

The code is shown in the terminal only. A page that gives it back gets a session token, good for its own origin; the
code serves once. After a few wrong ones the agent draws another and waits: guessing eight digits takes longer than
anyone has.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from shared.errors import RequestRefusedError, Why

TRIES_MAX: Final = 5
PAUSE_SECONDS: Final = 60.0
SESSIONS_MAX: Final = 8  # the oldest gives way
SESSION_SECONDS: Final = 12 * 3600.0
TOKEN_BYTES: Final = 32
_CODES: Final = 10**8


@dataclass(frozen=True)
class Session:
    """A page that was paired."""

    session_id: bytes
    """The SHA-256 of its token, which itself is not kept."""
    origin: str
    since: float


class Pairing:
    """The code, and the pages that gave it back."""

    def __init__(self, announce: Callable[[str], None], clock: Callable[[], float]) -> None:
        """Draw a first code; it is not announced, for whoever starts the agent says more.

        Args:
            announce: shows another code to the person at this computer.
            clock: seconds, from any origin, that only go forward.
        """
        self._announce = announce
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._wrong = 0
        self._paused_until = clock()
        self.code = _draw()

    def pair(self, code: str, origin: str) -> str:
        """Return the token of a page that gives the right code.

        Raises:
            RequestRefusedError: the code is wrong, or there were too many wrong ones just now.
        """
        left = self._paused_until - self._clock()
        if left > 0:
            raise _too_many(ceil(left))
        if not hmac.compare_digest("".join(code.split()).encode(), self.code.encode()):
            self._wrong += 1
            if self._wrong >= TRIES_MAX:
                self._paused_until = self._clock() + PAUSE_SECONDS
                self._renew()
                raise _too_many(ceil(PAUSE_SECONDS))
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "pairing-refused",
                "Code d’appairage faux",
                "Ce n’est pas le code que l’agent de signature affiche sur votre poste, dans son terminal. "
                "Recopiez-le.",
                extra={"tries_left": TRIES_MAX - self._wrong},
            )
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._keep(Session(_digest(token), origin, self._clock()))
        self._renew()
        return token

    def session_of(self, token: str, origin: str) -> Session | None:
        """Return the session of a token, if it was given to this origin and is not too old."""
        asked = _digest(token)
        found = None
        for session_id, session in self._sessions.items():
            if hmac.compare_digest(session_id, asked):
                found = session
        if found is None or found.origin != origin or self._clock() - found.since > SESSION_SECONDS:
            return None
        return found

    def _keep(self, session: Session) -> None:
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session.session_id] = session

    def _renew(self) -> None:
        self.code = _draw()
        self._wrong = 0
        self._announce(self.code)


def _draw() -> str:
    return f"{secrets.randbelow(_CODES):08d}"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _too_many(seconds: int) -> RequestRefusedError:
    received = f"L’agent de signature a reçu {TRIES_MAX} codes faux. Il en affiche un nouveau dans son terminal"
    detail = f"{received} : attendez {seconds} s, puis recopiez-le."
    return RequestRefusedError(
        Why.TOO_OFTEN, "pairing-paused", "Trop de codes faux", detail, again_in_seconds=seconds
    )

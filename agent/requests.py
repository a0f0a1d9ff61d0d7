"""The requests that wait for the signatory, and what became of them. Nothing of it is written anywhere.

waiting    until the signatory answers in the agent's page, and while their key signs
signed     at least one flux was
refused    none was: they refused, did not answer in time, or nothing could be signed
"""

import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Final, Literal
from uuid import uuid4

from agent.pairing import Session
from agent.reading import Item
from shared.errors import RequestRefusedError, Why
from signing.keys import KeyUnusableError, SigningKey

WAITING_SECONDS: Final = 600.0
KEPT_SECONDS: Final = 3600.0
KEPT_MAX: Final = 20
_TOKEN_BYTES: Final = 32

Status = Literal["waiting", "signed", "refused"]


@dataclass
class SigningRequest:
    """Some flux that one page asked to have signed together.

    Attributes:
        request_id: what the page that asked calls it.
        session_id: whose it is.
        origin: the portal that asks.
        page_token: what the address of the confirmation ends with; nobody guesses it.
        form_token: what the form of that page sends back; the page that asked never has it.
        ends_at: on the agent's clock: no answer is taken after, then nothing is kept after.
        is_signing: the signatory agreed, and the key works.
    """

    session_id: bytes
    origin: str
    items: list[Item]
    ends_at: float
    status: Status = "waiting"
    is_signing: bool = False
    request_id: str = field(default_factory=lambda: str(uuid4()))
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def awaits_answer(self) -> bool:
        """True until the signatory answers."""
        return self.status == "waiting" and not self.is_signing

    @property
    def prepared(self) -> list[Item]:
        """The flux that can still be signed."""
        return [item for item in self.items if item.status == "prepared"]


class Requests:
    """Keeps the requests; one at a time for each page."""

    def __init__(self, key: SigningKey, clock: Callable[[], float]) -> None:
        """Sign with this key; the clock counts seconds."""
        self._key = key
        self._clock = clock
        self._requests: dict[str, SigningRequest] = {}
        self._being_read: set[bytes] = set()
        self._stopped = Event()

    @contextmanager
    def taking(self, session: Session) -> Iterator[None]:
        """Take a request in, from its first byte on.

        Raises:
            RequestRefusedError: another one of this page waits, or is being taken in.
        """
        self._tidy()
        waits = any(
            one.session_id == session.session_id and one.status == "waiting" for one in self._requests.values()
        )
        if waits or session.session_id in self._being_read:
            raise RequestRefusedError(
                Why.AS_THINGS_STAND,
                "request-waits",
                "Une demande attend déjà",
                "Le signataire n’a pas encore répondu à votre demande précédente. Attendez sa réponse dans la page "
                "de l’agent de signature, ou l’expiration de la demande, puis recommencez.",
            )
        self._being_read.add(session.session_id)
        try:
            yield
        finally:
            self._being_read.discard(session.session_id)

    def open(self, session: Session, items: list[Item]) -> SigningRequest:
        """Have a request wait for the signatory; it is refused at once if nothing in it can be signed."""
        request = SigningRequest(session.session_id, session.origin, items, self._clock() + WAITING_SECONDS)
        self._requests[request.request_id] = request
        if not request.prepared:
            self._end(request, "refused")
        return request

    def of_page(self, page_token: str) -> SigningRequest | None:
        """Return the request that a confirmation page is about, if it is still kept."""
        self._tidy()
        found = None
        for request in self._requests.values():
            if hmac.compare_digest(request.page_token.encode(), page_token.encode()):
                found = request
        return found

    def of_session(self, request_id: str, session: Session) -> SigningRequest | None:
        """Return a request of this session."""
        self._tidy()
        found = self._requests.get(request_id)
        return found if found is not None and found.session_id == session.session_id else None

    def seconds_left(self, request: SigningRequest) -> float:
        """Say how long the signatory may still take."""
        return max(request.ends_at - self._clock(), 0.0)

    def refuse(self, request: SigningRequest, reason: str) -> None:
        """Refuse everything that waits."""
        for item in request.prepared:
            item.refuse(reason)
        self._end(request, "refused")

    def agree(self, request: SigningRequest, chosen: frozenset[int]) -> None:
        """Keep the flux that the signatory chose, by their position; `sign` comes next."""
        for position, item in enumerate(request.items):
            if item.status == "prepared" and position not in chosen:
                item.refuse("Le signataire n’a pas retenu ce flux.")
        request.is_signing = True

    def sign(self, request: SigningRequest) -> None:
        """Sign what was chosen; it may take minutes: meant for a thread of its own. A flux is signed whole or not."""
        try:
            self._sign_chosen(request)
        finally:  # whatever a driver does, the page is answered and the next request may come
            for item in request.prepared:
                item.refuse("La signature s’est interrompue. Recommencez ; si cela dure, prévenez votre hébergeur.")
            self._end(request, "signed" if any(item.status == "signed" for item in request.items) else "refused")

    def _sign_chosen(self, request: SigningRequest) -> None:
        for item in request.prepared:
            try:
                values = tuple((element_id, self._sign(to_sign)) for element_id, to_sign in item.to_sign)
            except KeyUnusableError as error:
                # What follows is not tried: a card that refuses may lock.
                for other in request.prepared:
                    other.refuse(str(error))
                break
            item.values, item.to_sign, item.status = values, (), "signed"

    def stop(self) -> None:
        """Sign nothing more."""
        self._stopped.set()

    def _sign(self, to_sign: bytes) -> bytes:
        if self._stopped.is_set():
            raise KeyUnusableError("L’agent de signature a été arrêté avant d’avoir signé ce flux.")
        return self._key.sign(to_sign)

    def _end(self, request: SigningRequest, status: Status) -> None:
        request.ends_at = self._clock() + KEPT_SECONDS
        request.status = status  # before what follows: the form is not shown again
        request.is_signing = False

    def _tidy(self) -> None:
        """Refuse what nobody answered in time, and forget what ended long ago."""
        now = self._clock()
        for request in list(self._requests.values()):
            if now < request.ends_at or request.is_signing:
                continue
            if request.status == "waiting":
                minutes = round(WAITING_SECONDS / 60)
                self.refuse(request, f"Le signataire n’a pas répondu en {minutes} minutes : la demande a expiré.")
            else:
                del self._requests[request.request_id]
        ended = [one.request_id for one in self._requests.values() if one.status != "waiting"]
        for request_id in ended[:-KEPT_MAX]:
            del self._requests[request_id]

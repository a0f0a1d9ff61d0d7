"""What the agent answers, route by route; the portal's page calls `/v1/…`, the signatory sees `/confirmation/…`.

GET  /v1/agent              what this is, and whether the page is paired
POST /v1/pairing            the code of the terminal, for a session token
GET  /v1/certificate        under which certificate the signatory signs
POST /v1/signatures         flux to sign: prepared here, then shown to the signatory
GET  /v1/signatures/{id}    what became of them, and the signature values
"""

import asyncio
import hmac
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeVar
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agent import pages
from agent.guard import Guard
from agent.pairing import Pairing, Session
from agent.reading import AskedItem, Item, read_item
from agent.requests import Requests, SigningRequest
from shared.errors import RequestRefusedError, Why
from shared.web.problems import http_problem, problem
from signing.certificates import whole_name
from signing.keys import SigningKey

API_VERSION: Final = 1
ITEMS_MAX: Final = 500
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
SMALL_BODY_BYTES_MAX: Final = 64 * 1024
FORM_FIELDS_MAX: Final = 2 * ITEMS_MAX
BODY_SECONDS_MAX: Final = 300.0
_BEARER: Final = "Bearer "
_Asked = TypeVar("_Asked", bound=BaseModel)


class Agent:
    """The routes of one agent, and what they share."""

    def __init__(
        self,
        *,
        key: SigningKey,
        port: int,
        version: str,
        announce: Callable[[str], None],
        open_page: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Sign with a key whatever its holder agrees to.

        Args:
            key: the signatory's; used by one request after the other.
            port: where the agent listens, on 127.0.0.1.
            version: of Heliotrope.
            announce: shows a new pairing code to the person at this computer, and to nobody else.
            open_page: brings the confirmation before the signatory; must not wait for them.
            clock: seconds that only go forward.
            now: the time of day, aware.
        """
        self.pairing = Pairing(announce, clock)
        self.requests = Requests(key, clock)
        self._key = key
        self._port = port
        self._version = version
        self._open_page = open_page
        self._now = now
        self._work: set[asyncio.Task[None]] = set()

    def app(self, *origins: str) -> ASGIApp:
        """Return the application that serves pages of these origins."""
        routes = [
            Route("/v1/agent", self._tell, methods=["GET"]),
            Route("/v1/pairing", self._pair, methods=["POST"]),
            Route("/v1/certificate", self._certificate, methods=["GET"]),
            Route("/v1/signatures", self._ask, methods=["POST"]),
            Route("/v1/signatures/{request_id}", self._follow, methods=["GET"]),
            Route("/confirmation/{page_token}", self._show, methods=["GET"]),
            Route("/confirmation/{page_token}", self._answer, methods=["POST"]),
        ]
        handlers = {RequestRefusedError: _refused, HTTPException: _http}
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        return Guard(app, port=self._port, origins=origins)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.requests.stop()  # or the process would stay until the card has signed everything

    # --- What the portal's page calls ------------------------------------------------------------------------------

    async def _tell(self, request: Request) -> Response:
        return JSONResponse(
            {
                "name": "heliotrope-agent",
                "version": self._version,
                "api": API_VERSION,
                "paired": self._session_of(request) is not None,
            }
        )

    async def _pair(self, request: Request) -> Response:
        asked = _parsed(_AskedPairing, await _body(request, SMALL_BODY_BYTES_MAX))
        token = self.pairing.pair(asked.code, request.headers["origin"])
        return JSONResponse({"token": token})

    async def _certificate(self, request: Request) -> Response:
        self._session(request)
        certificate = self._key.certificate
        return JSONResponse(
            {
                "certificate": b64encode(certificate.public_bytes(Encoding.DER)).decode(),
                "subject": whole_name(certificate.subject),
                "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    async def _ask(self, request: Request) -> Response:
        session = self._session(request)
        with self.requests.taking(session):
            body = await _body(request, BODY_BYTES_MAX)
            items = await asyncio.to_thread(self._read, body)
            taken = self.requests.open(session, items)
        url = f"http://127.0.0.1:{self._port}/confirmation/{taken.page_token}"
        if taken.awaits_answer:
            self._open_page(url)
        return JSONResponse({"request_id": taken.request_id, "confirmation_url": url}, 202)

    async def _follow(self, request: Request) -> Response:
        session = self._session(request)
        found = self.requests.of_session(request.path_params["request_id"], session)
        if found is None:
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "signature-request-not-found",
                "Demande introuvable",
                "L’agent de signature n’a pas, ou n’a plus, cette demande. Demandez à nouveau la signature.",
            )
        items = [_told(item) for item in found.items]
        return JSONResponse({"request_id": found.request_id, "status": found.status, "items": items})

    def _read(self, body: bytes) -> list[Item]:
        asked = _parsed(_AskedSignatures, body).items
        if len(asked) > ITEMS_MAX:
            raise RequestRefusedError(
                Why.TOO_LARGE,
                "too-many-items",
                "Trop de flux à la fois",
                f"La demande porte sur {len(asked)} flux ; {ITEMS_MAX} au plus se signent ensemble. "
                "Faites-en plusieurs.",
                extra={"items_max": ITEMS_MAX},
            )
        if len({one.flux_id for one in asked}) < len(asked):
            raise RequestRefusedError(
                Why.UNUSABLE,
                "flux-repeated",
                "Flux demandé deux fois",
                "Un même flux figure deux fois dans la demande.",
            )
        return [read_item(one, self._key.certificate, self._now()) for one in asked]

    # --- What the signatory sees -----------------------------------------------------------------------------------

    async def _show(self, request: Request) -> Response:
        return self._page(self.requests.of_page(request.path_params["page_token"]))

    async def _answer(self, request: Request) -> Response:
        found = self.requests.of_page(request.path_params["page_token"])
        form = _form(await _body(request, SMALL_BODY_BYTES_MAX))
        if found is None or not found.awaits_answer:
            return self._page(found)
        if not _is_same(form.get("form_token", [""])[0], found.form_token):
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "wrong-form",
                "Réponse refusée",
                "Cette réponse ne vient pas de la page de confirmation. Ouvrez-la à nouveau, puis répondez.",
            )
        decision = form.get("decision", [""])[0]
        ticked = frozenset(form.get("item", []))
        chosen = frozenset(
            position for position, one in enumerate(found.items) if one.to_sign and str(position) in ticked
        )
        if decision == "refuse":
            self.requests.refuse(found, "Le signataire a refusé de signer.")
        elif decision == "sign" and any(
            position in chosen for position, one in enumerate(found.items) if one.to_sign
        ):
            self._sign(found, chosen)
        else:
            return self._page(found, notice="Cochez au moins un flux à signer, ou refusez la demande.", status=422)
        return RedirectResponse(str(request.url.path), 303)

    def _sign(self, found: SigningRequest, chosen: frozenset[int]) -> None:
        """Sign in a thread: a card takes its time, and the agent keeps answering."""
        self.requests.agree(found, chosen)
        task = asyncio.create_task(asyncio.to_thread(self.requests.sign, found))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _page(self, found: SigningRequest | None, *, notice: str = "", status: int = 200) -> Response:
        if found is None:
            return HTMLResponse(pages.unknown(), 404, pages.HEADERS)
        if found.awaits_answer:
            until = self._now() + timedelta(seconds=self.requests.seconds_left(found))
            page = pages.confirmation(found, self._key.certificate, until=until, notice=notice)
            return HTMLResponse(page, status, pages.HEADERS)
        page = pages.progress(found) if found.status == "waiting" else pages.ended(found)
        return HTMLResponse(page, headers=pages.HEADERS)

    # --- Who asks --------------------------------------------------------------------------------------------------

    def _session_of(self, request: Request) -> Session | None:
        credentials = request.headers.get("authorization", "")
        if not credentials.startswith(_BEARER):
            return None
        return self.pairing.session_of(credentials.removeprefix(_BEARER), request.headers["origin"])

    def _session(self, request: Request) -> Session:
        session = self._session_of(request)
        if session is None:
            raise RequestRefusedError(
                Why.UNIDENTIFIED,
                "not-paired",
                "Page non appairée",
                "Cette page n’est pas appairée avec l’agent de signature. Donnez-lui le code que l’agent affiche "
                "dans son terminal.",
            )
        return session


class _AskedPairing(BaseModel):
    code: Annotated[str, Field(max_length=100)]


class _AskedSignatures(BaseModel):
    items: Annotated[list[AskedItem], Field(min_length=1)]


def _told(item: Item) -> dict[str, object]:
    return {
        "flux_id": item.flux_id,
        "status": item.status,
        "reason": item.reason,
        "values": [
            {"element_id": element_id, "value": b64encode(value).decode()} for element_id, value in item.values
        ],
    }


def _form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("ascii", "replace"), max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return {}  # nobody's form: it has no token either


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _parsed(model: type[_Asked], body: bytes) -> _Asked:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        # Where and what, never the value: it may be a document.
        faults = [".".join(str(part) for part in one["loc"]) or "corps" for one in error.errors(include_input=False)]
        raise RequestRefusedError(
            Why.UNUSABLE,
            "invalid-request",
            "Demande invalide",
            f"La demande n’a pas la forme attendue : {', '.join(faults[:10])}. Prévenez l’hébergeur du portail.",
        ) from None


async def _body(request: Request, bytes_max: int) -> bytes:
    """Read a body whole, within a size and a time."""
    too_large = RequestRefusedError(
        Why.TOO_LARGE,
        "too-large",
        "Demande trop grande",
        f"La demande dépasse {bytes_max // 1024} Kio. Signez moins de flux à la fois.",
        extra={"bytes_max": bytes_max},
    )
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > bytes_max:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    raise too_large
    except TimeoutError as error:
        raise RequestRefusedError(
            Why.TOO_SLOW, "too-slow", "Demande trop lente", "La demande n’est pas arrivée à temps. Recommencez."
        ) from error
    return bytes(body)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestRefusedError):
        raise error
    return problem(error, {"WWW-Authenticate": "Bearer"} if error.why is Why.UNIDENTIFIED else None)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = f"{request.method} {request.url.path} n’existe pas dans l’agent de signature."
    return http_problem(error, "not-found", "Introuvable", detail)

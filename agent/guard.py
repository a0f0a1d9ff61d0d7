"""Decides who may speak to the agent at all, before any route is looked at.

Any page that this computer's browser shows can send requests to a loopback address. So three things are checked:

    Host      the agent's own address, or else a name that was made to point here (DNS rebinding)
    Origin    for the API, one that was allowed when the agent was started; a request without one is not a page's
    Origin    for the agent's own pages, their own: no other site may read them or submit their forms
"""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import RequestRefusedError, Why
from shared.web.problems import problem

API: Final = "/v1/"
PREFLIGHT_SECONDS: Final = 600
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Allow-Private-Network": "true",  # from a public page to this computer
    "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
}
_HARDENED: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with "no-referrer", forms would come without their origin
}


class Guard:
    """Wraps the agent's routes; see the head of this module."""

    def __init__(self, app: ASGIApp, *, port: int, origins: Sequence[str]) -> None:
        """Let pages of `origins` use the API of the agent that listens on `port`."""
        self._app = app
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._own = frozenset(f"http://{host}" for host in self._hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        answering = _hardening(send, self._allowed_origin(scope, headers))
        try:
            self._check(scope, headers)
        except RequestRefusedError as refused:
            await problem(refused)(scope, receive, answering)
            return
        if scope["method"] == "OPTIONS" and scope["path"].startswith(API):
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, answering)
            return
        await self._app(scope, receive, answering)

    def _check(self, scope: Scope, headers: Headers) -> None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise RequestRefusedError(
                Why.MEANT_FOR_ANOTHER,
                "wrong-host",
                "Adresse refusée",
                "L’agent de signature ne répond qu’à son adresse sur ce poste (127.0.0.1 ou localhost, et son port).",
            )
        if scope["path"].startswith(API):
            if len(origins) != 1 or origins[0] not in self._origins:
                raise _wrong_origin(
                    "Cette page n’est pas de celles que l’agent de signature sert. Si c’est celle de votre portail, "
                    "arrêtez l’agent, puis démarrez-le avec --origin et l’adresse du portail."
                )
            return
        is_foreign = any(one not in self._own for one in origins)
        if scope["method"] not in {"GET", "HEAD"}:
            # A browser says where a form comes from: without it, it is not the signatory's own page.
            is_foreign |= len(origins) != 1 or headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if is_foreign:
            raise _wrong_origin(
                "Cette action ne vient pas d’une page de l’agent de signature : elle n’est pas suivie. "
                "Répondez dans la page que l’agent ouvre lui-même."
            )

    def _allowed_origin(self, scope: Scope, headers: Headers) -> str | None:
        origin = headers.get("origin", "")
        return origin if scope["path"].startswith(API) and origin in self._origins else None


def _wrong_origin(detail: str) -> RequestRefusedError:
    return RequestRefusedError(Why.NOT_ALLOWED, "wrong-origin", "Page refusée", detail)


def _hardening(send: Send, origin: str | None) -> Send:
    """Add to every answer what browsers must know of it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HARDENED.items():
                headers[name] = value
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
            else:
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
        await send(message)

    return sending

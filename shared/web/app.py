"""The HTTP shell of every service: health, readiness, metrics, and one way to answer when things go wrong."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from opentelemetry.trace import INVALID_SPAN, Span
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tracing
from shared.errors import UnavailableError
from shared.facts.envelope import new_id
from shared.logs import current_ids, ids_among, naming, seconds
from shared.web.auth import Caller, TokenChecker
from shared.web.problems import NO_STORE, answer_errors

logger = logging.getLogger(__name__)

CHECK_SECONDS_MAX = 3.0
OF_OPERATIONS: Final = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds: no news
REQUEST_ID: Final = "heliotrope.request_id"
_STATUS: Final = "http.response.status_code"

Check = Callable[[], Awaitable[None]]


def service_app(
    name: str, summary: str, *, checks: Mapping[str, Check], waits_for: Callable[[], list[str]] = list
) -> FastAPI:
    """Return a FastAPI application with what every service has; its own routes are added to it.

    Args:
        name: the service's name.
        summary: one sentence for the OpenAPI page.
        checks: what `/readyz` asks, by the name an operator knows: each raises `UnavailableError` when it is away.
        waits_for: the outside parties that messages wait for right now.
    """
    app = _FollowedApp(title=f"Heliotrope {name}", summary=summary, docs_url="/docs", redoc_url=None)

    @app.get("/healthz", tags=["operations"], summary="Le processus vit")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "service": name}

    @app.get("/readyz", tags=["operations"], summary="Ce dont le service a besoin répond")
    async def readyz() -> JSONResponse:
        away = await _away(checks)
        body = {"service": name, "away": away, "messages_wait_for": waits_for()}
        return JSONResponse({"status": "not ready" if away else "ready", **body}, 503 if away else 200, NO_STORE)

    @app.get("/metrics", tags=["operations"], summary="Les métriques, pour Prometheus")
    async def prometheus() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    answer_errors(app)
    return app


def caller_dependency(checker: TokenChecker) -> Callable[..., Awaitable[Caller]]:
    """Return the FastAPI dependency that every route of an API takes: the caller, or 401."""
    scheme = HTTPBearer(auto_error=False, description="Jeton d’accès (JWT)")

    async def caller(
        request: Request, token: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]
    ) -> Caller:
        who = checker.check(token.credentials if token else "")
        current_ids.set({**current_ids.get(), **_ids_in_path(request.scope), "actor": who.subject})
        return who

    return caller


def request_id(request: Request) -> UUID:
    """Return the id of a request; what it begins has it as its correlation id."""
    known: UUID = request.scope[REQUEST_ID]
    return known


class _FollowedApp(FastAPI):
    """An application of which every answer can be followed, those to our own faults too."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return everything that answers, within what follows it."""
        return _Following(super().build_middleware_stack())


class _Following:
    """Gives each request an id, has it traced, and writes one line once it is answered.

    The line says the route and never the address: what stands in the place of an id, or after it, is the caller's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = new_id()
        with naming({"correlation_id": str(scope[REQUEST_ID])}):
            if scope["path"] in OF_OPERATIONS:
                await self._answer(scope, receive, send, INVALID_SPAN)
                return
            traceparent = Headers(scope=scope).get("traceparent", "")
            with tracing.request(scope[REQUEST_ID], traceparent) as span:
                await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        """Have a request answered, then say so in the log and in its span."""
        status = 0  # nobody was there any more

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:
            method, route, ids = scope["method"], getattr(scope.get("route"), "path", "unknown"), _ids_in_path(scope)
            fields = {**ids, "method": method, "path": route, "status": status}
            took = seconds(time.perf_counter() - began)
            level = logging.DEBUG if scope["path"] in OF_OPERATIONS else logging.INFO
            logger.log(level, "request.answered", extra={**fields, "duration_seconds": took})
            span.update_name(f"{method} {route}")
            span.set_attributes({f"heliotrope.{name}": value for name, value in ids.items()})
            span.set_attributes({"http.request.method": method, "http.route": route, _STATUS: status})


def _ids_in_path(scope: Scope) -> dict[str, str]:
    """Return the ids of streams that the path of a request names."""
    return ids_among(scope.get("path_params", {}), "flux_id", "reply_id")


async def _away(checks: Mapping[str, Check]) -> list[str]:
    async def is_away(check: Check) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                await check()
        except (UnavailableError, TimeoutError):
            return True
        return False

    answers = await asyncio.gather(*(is_away(check) for check in checks.values()))
    return [name for name, away in zip(checks, answers, strict=True) if away]

"""The HTTP shell of every service: health, readiness, metrics, and one way to answer when things go wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.errors import UnavailableError
from shared.web.auth import Caller, TokenChecker
from shared.web.problems import NO_STORE, answer_errors

CHECK_SECONDS_MAX = 3.0

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
    app = FastAPI(title=f"Heliotrope {name}", summary=summary, docs_url="/docs", redoc_url=None)

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

    async def caller(token: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> Caller:
        return checker.check(token.credentials if token else "")

    return caller


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

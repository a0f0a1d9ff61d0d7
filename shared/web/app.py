"""The HTTP shell of every service: health, readiness, metrics, and one way to answer when things go wrong.

Every refusal is a problem document (RFC 9457) with a French sentence: what happened, who can act, what to do next.
This is the only place where an error of `shared.errors` becomes an HTTP status.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from shared import metrics
from shared.errors import (
    PesError,
    RequestRefusedError,
    UnavailableError,
    UnexpectedFactError,
    VersionConflictError,
)
from shared.web.auth import Caller, TokenChecker

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
CHECK_SECONDS_MAX = 3.0
PROBLEM_TYPE = "urn:heliotrope:problem:"
NO_STORE = {"Cache-Control": "no-store"}

Check = Callable[[], Awaitable[None]]

_TITLES = {
    400: ("bad-request", "Demande mal formée"),
    404: ("not-found", "Introuvable"),
    405: ("method-not-allowed", "Méthode non permise"),
}


def flux_not_found(flux_id: UUID) -> RequestRefusedError:
    """Return the refusal of a flux that does not exist, or that the caller may not see: nobody can tell which."""
    return RequestRefusedError(
        404,
        "flux-not-found",
        "Flux introuvable",
        f"Aucun flux {flux_id} n'est visible avec votre compte. Vérifiez son identifiant et votre collectivité.",
    )


def problem_members(refused: RequestRefusedError) -> dict[str, object]:
    """Return the members of the problem document of a refusal."""
    return {
        "type": PROBLEM_TYPE + refused.slug,
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
        **refused.extra,
    }


def problem(refused: RequestRefusedError) -> JSONResponse:
    """Answer with a problem document (RFC 9457)."""
    metrics.REFUSED.labels(refused.slug).inc()
    headers = {**NO_STORE, **refused.headers}
    return JSONResponse(problem_members(refused), refused.status, headers, "application/problem+json")


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

    @app.get("/healthz", tags=["operations"], summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "service": name}

    @app.get("/readyz", tags=["operations"], summary="What the service needs answers")
    async def readyz() -> JSONResponse:
        away = await _away(checks)
        body = {"service": name, "away": away, "messages_wait_for": waits_for()}
        return JSONResponse({"status": "not ready" if away else "ready", **body}, 503 if away else 200, NO_STORE)

    @app.get("/metrics", tags=["operations"], summary="Prometheus metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    _answer_errors(app)
    return app


def caller_dependency(checker: TokenChecker) -> Callable[..., Awaitable[Caller]]:
    """Return the FastAPI dependency that every route of an API takes: the caller, or 401."""
    scheme = HTTPBearer(auto_error=False, description="Jeton d'accès (JWT)")

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


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestRefusedError)
    async def refused(_: Request, error: RequestRefusedError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(UnavailableError)
    async def unavailable(_: Request, error: UnavailableError) -> JSONResponse:
        logger.warning("request.unavailable", extra={"reason": str(error)})
        return problem(
            RequestRefusedError(
                503,
                "unavailable",
                "Service momentanément indisponible",
                "La plateforme ne peut pas répondre pour l'instant et rien n'a été enregistré à moitié. "
                "Recommencez la même demande dans quelques secondes ; si cela dure, prévenez votre hébergeur.",
                extra={"party": error.party},
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        )

    @app.exception_handler(VersionConflictError)
    @app.exception_handler(UnexpectedFactError)
    async def conflict(_: Request, error: PesError) -> JSONResponse:
        logger.info("request.conflict", extra={"reason": str(error)})
        return problem(
            RequestRefusedError(
                409,
                "conflict",
                "Le flux a changé d'état",
                "Le flux n'est plus dans l'état où cette action est possible. Relisez-le, puis recommencez.",
            )
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]} for one in error.errors()]
        return problem(
            RequestRefusedError(
                422,
                "invalid-request",
                "Demande invalide",
                "Un paramètre de la demande manque ou n'a pas la forme attendue : "
                + ", ".join(place["where"] for place in faults)
                + ". Corrigez-le, puis recommencez.",
                extra={"errors": faults},
            )
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        slug, title = _TITLES.get(error.status_code, ("http-error", "Demande refusée"))
        detail = f"{request.method} {request.url.path} : {title.lower()}. Voyez /docs pour ce qui existe."
        return problem(RequestRefusedError(error.status_code, slug, title, detail, headers=dict(error.headers or {})))

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> JSONResponse:
        logger.error("request.failed", exc_info=error)
        return problem(
            RequestRefusedError(
                500,
                "internal",
                "Erreur interne",
                "La plateforme a rencontré une erreur imprévue ; elle est enregistrée dans son journal technique. "
                "Prévenez votre hébergeur en donnant l'heure de votre demande.",
            )
        )

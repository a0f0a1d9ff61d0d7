"""How errors are told over HTTP: as problem documents (RFC 9457), in French.

Every refusal says what happened, who can act, what to do next. This is the only place where an error of
`shared.errors` becomes an HTTP status.
"""

import logging
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared import metrics, wording
from shared.errors import (
    NewerFactError,
    PesError,
    RequestRefusedError,
    UnavailableError,
    UnexpectedFactError,
    VersionConflictError,
    Why,
)
from shared.facts.streams import BY_KIND
from shared.web.faults import faults_of

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 5
PROBLEM_TYPE: Final = "urn:heliotrope:problem:"
NO_STORE: Final = {"Cache-Control": "no-store"}

STATUSES: Final = {
    Why.BADLY_FORMED: 400,
    Why.UNIDENTIFIED: 401,
    Why.NOT_ALLOWED: 403,
    Why.NOT_FOUND: 404,
    Why.TOO_SLOW: 408,
    Why.AS_THINGS_STAND: 409,
    Why.TOO_LARGE: 413,
    Why.WRONG_KIND: 415,
    Why.MEANT_FOR_ANOTHER: 421,
    Why.UNUSABLE: 422,
    Why.TOO_OFTEN: 429,
    Why.BROKEN: 500,
    Why.AWAY: 503,
}
_HEADERS: Final = {Why.UNIDENTIFIED: {"WWW-Authenticate": 'Bearer error="invalid_token"'}}
# What a request is about, by what its path names first after the version.
_SUBJECTS: Final = {
    "flux": "Le flux",
    "signatures": "Le flux",
    "checks": "Le fichier",
    "replies": "La réponse",
    "collectivites": "La collectivité",
    "mandates": "Le mandat",
    "delegations": "La délégation",
    "circuits": "Le circuit",
    "seal": "Le choix du cachet",
    "schemas": "Le pack de schémas",
    "controls": "La gravité du contrôle",
    "scenario": "Le scénario",
}
_OF_HTTP: Final = {
    400: ("bad-request", "Demande mal formée"),
    404: ("not-found", "Introuvable"),
    405: ("method-not-allowed", "Méthode non permise"),
}


def flux_not_found(flux_id: UUID) -> RequestRefusedError:
    """Return the refusal of a flux that does not exist, or that the caller may not see: nobody can tell which."""
    detail = f"Aucun flux {flux_id} n’est visible avec votre compte. Vérifiez son identifiant et votre collectivité."
    return RequestRefusedError(Why.NOT_FOUND, "flux-not-found", "Flux introuvable", detail)


def flux_set_aside(flux_id: UUID, reason: str, kind: str) -> RequestRefusedError:
    """Return the refusal of anything that asks to read all of a flux, which this version cannot."""
    return RequestRefusedError(
        Why.AS_THINGS_STAND,
        "flux-set-aside",
        "Flux mis de côté",
        f"Le flux {flux_id} est mis de côté. {reason} Recommencez une fois la mise à jour terminée.",
        extra={"kind": kind},
    )


def flux_changed(flux_id: UUID, on_screen: str, version: int) -> RequestRefusedError:
    """Return the refusal of a decision on a flux that was made on what the flux no longer is."""
    return RequestRefusedError(
        Why.AS_THINGS_STAND,
        "flux-changed",
        "Flux modifié depuis",
        f"Depuis que vous l’avez consulté, le flux {flux_id} a changé : il est « {on_screen} ». Rien n’est "
        "enregistré. Consultez-le de nouveau (flux show), puis décidez.",
        extra={"version": version},
    )


def invalid_request(what: str, faults: list[dict[str, str]]) -> RequestRefusedError:
    """Return the refusal of a request that has not the expected shape: `what` of it, and where."""
    return RequestRefusedError(
        Why.UNUSABLE,
        "invalid-request",
        "Demande invalide",
        f"Un {what} de la demande manque ou n’a pas la forme attendue : "
        + ", ".join(fault["where"] or "la demande" for fault in faults)
        + ". Corrigez-le, puis recommencez.",
        extra={"errors": faults},
    )


def subject_of(path: str) -> str:
    """Return what a request is about, as a French sentence begins."""
    return next((_SUBJECTS[part] for part in path.split("/") if part in _SUBJECTS), "Ce que vous modifiez")


def problem_members(refused: RequestRefusedError) -> dict[str, object]:
    """Return the members of the problem document of a refusal."""
    return _members(STATUSES[refused.why], refused.slug, refused.title, refused.detail) | refused.extra


def problem(refused: RequestRefusedError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer a refusal with a problem document, and these headers besides those that go with every such answer."""
    own = dict(_HEADERS.get(refused.why, {}))
    if refused.again_in_seconds:
        own["Retry-After"] = str(refused.again_in_seconds)
    return _answer(refused.slug, problem_members(refused), own | dict(headers or {}))


def http_problem(error: HTTPException, slug: str, title: str, detail: str) -> JSONResponse:
    """Answer what the web framework refuses by itself, with the status and the headers that it chose."""
    return _answer(slug, _members(error.status_code, slug, title, detail), error.headers or {})


def answer_errors(app: FastAPI) -> None:
    """Have every error of an application answered with a problem document."""
    app.exception_handler(RequestRefusedError)(_refused)
    app.exception_handler(UnavailableError)(_unavailable)
    app.exception_handler(VersionConflictError)(_conflict)
    app.exception_handler(UnexpectedFactError)(_conflict)
    app.exception_handler(NewerFactError)(_set_aside)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(Exception)(_bug)


async def _refused(_: Request, error: RequestRefusedError) -> JSONResponse:
    return problem(error)


async def _unavailable(_: Request, error: UnavailableError) -> JSONResponse:
    logger.warning("request.unavailable", extra={"reason": str(error)})
    return problem(
        RequestRefusedError(
            Why.AWAY,
            "unavailable",
            "Service momentanément indisponible",
            "La plateforme ne peut pas répondre pour l’instant et rien n’a été enregistré à moitié. "
            "Recommencez la même demande dans quelques secondes ; si cela dure, prévenez votre hébergeur.",
            extra={"party": error.party},
            again_in_seconds=RETRY_AFTER_SECONDS,
        )
    )


async def _conflict(request: Request, error: PesError) -> JSONResponse:
    logger.info("request.conflict", extra={"reason": str(error)})
    detail = (
        f"{subject_of(request.url.path)} a changé entre-temps, et cette action n’est plus possible ainsi. Relisez "
    )
    detail += "ce qui est enregistré, puis recommencez."
    return problem(RequestRefusedError(Why.AS_THINGS_STAND, "conflict", "Un changement est passé avant", detail))


async def _set_aside(_: Request, error: NewerFactError) -> JSONResponse:
    logger.warning("request.set_aside", extra={"reason": str(error)})
    kind = error.kind[:100]
    detail = f"{wording.set_aside(kind, is_known=kind in BY_KIND)} Recommencez une fois la mise à jour terminée."
    return problem(
        RequestRefusedError(Why.AS_THINGS_STAND, "set-aside", "Historique mis de côté", detail, extra={"kind": kind})
    )


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    return problem(invalid_request("paramètre", faults_of(error.errors())))


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    slug, title = _OF_HTTP.get(error.status_code, ("http-error", "Demande refusée"))
    detail = f"{request.method} {request.url.path} : {title.lower()}. Voyez /docs pour ce qui existe."
    return http_problem(error, slug, title, detail)


async def _bug(_: Request, error: Exception) -> JSONResponse:
    logger.error("request.failed", exc_info=error)
    return problem(
        RequestRefusedError(
            Why.BROKEN,
            "internal",
            "Erreur interne",
            "La plateforme a rencontré une erreur imprévue ; elle est enregistrée dans son journal technique. "
            "Prévenez votre hébergeur en donnant l’heure de votre demande.",
        )
    )


def _members(status: int, slug: str, title: str, detail: str) -> dict[str, object]:
    return {"type": PROBLEM_TYPE + slug, "title": title, "status": status, "detail": detail}


def _answer(slug: str, members: dict[str, object], headers: Mapping[str, str]) -> JSONResponse:
    metrics.REFUSED.labels(slug).inc()
    status = int(str(members["status"]))
    return JSONResponse(members, status, {**NO_STORE, **headers}, "application/problem+json")

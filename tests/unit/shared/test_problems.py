"""Problem documents: the one place where an error becomes an HTTP status, and headers."""

import json

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from shared.errors import MisplacedFactError, NewerFactError, RequestRefusedError, UnexpectedFactError, Why
from shared.web.problems import STATUSES, answer_errors, http_problem, problem


def refusal(why: Why, *, again_in_seconds: int = 0) -> RequestRefusedError:
    return RequestRefusedError(
        why,
        "too-late",
        "Annulation impossible",
        "Le flux est parti.",
        extra={"state": "sending"},
        again_in_seconds=again_in_seconds,
    )


def test_every_reason_has_a_status_of_its_own() -> None:
    assert set(STATUSES) == set(Why)
    assert len(set(STATUSES.values())) == len(STATUSES)


@pytest.mark.parametrize("why", Why)
def test_a_refusal_is_a_problem_document(why: Why) -> None:
    answer = problem(refusal(why))
    assert answer.status_code == STATUSES[why]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:heliotrope:problem:too-late",
        "title": "Annulation impossible",
        "status": STATUSES[why],
        "detail": "Le flux est parti.",
        "state": "sending",
    }


def test_who_is_not_known_is_told_how_to_say_it() -> None:
    assert problem(refusal(Why.UNIDENTIFIED)).headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "www-authenticate" not in problem(refusal(Why.NOT_ALLOWED)).headers


def test_a_route_has_the_last_word_on_headers() -> None:
    answer = problem(refusal(Why.UNIDENTIFIED), {"WWW-Authenticate": "Bearer", "Content-Location": "/v1/flux/1"})
    assert answer.headers.getlist("www-authenticate") == ["Bearer"]
    assert answer.headers["content-location"] == "/v1/flux/1"


def test_what_may_be_asked_again_says_when() -> None:
    assert problem(refusal(Why.TOO_OFTEN, again_in_seconds=30)).headers["retry-after"] == "30"
    assert "retry-after" not in problem(refusal(Why.TOO_OFTEN)).headers


def test_what_the_framework_refuses_keeps_its_status_and_headers() -> None:
    answer = http_problem(HTTPException(405, headers={"Allow": "GET"}), "method-not-allowed", "Non", "GET seulement.")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert json.loads(bytes(answer.body))["type"] == "urn:heliotrope:problem:method-not-allowed"


@pytest.mark.parametrize(
    ("error", "slug", "said"),
    [
        (NewerFactError("flux.teleported.v1", "x"), "set-aside", "ne connaît pas (flux.teleported.v1)"),
        (NewerFactError("flux.signed.v1", "x"), "set-aside", "à cette place (flux.signed.v1)"),
        (MisplacedFactError("flux.signed.v1", "FluxSigned", "draft"), "set-aside", "à cette place (flux.signed.v1)"),
        (UnexpectedFactError("FluxSigned", "draft"), "conflict", "a changé entre-temps"),
    ],
)
async def test_what_a_newer_version_recorded_is_told_apart_from_what_cannot_be_decided(
    error: Exception, slug: str, said: str
) -> None:
    app = FastAPI()
    answer_errors(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["type"]) == (409, f"urn:heliotrope:problem:{slug}")
    assert said in answer.json()["detail"]

"""Problem documents: the one place where an error becomes an HTTP status, and headers."""

import json

import pytest
from starlette.exceptions import HTTPException

from shared.errors import RequestRefusedError, Why
from shared.web.problems import STATUSES, http_problem, problem


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

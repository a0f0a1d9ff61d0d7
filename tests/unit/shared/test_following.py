"""One line for each request answered: the route and the ids in it, never what a caller may have written."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, Request

from shared.logs import JsonFormatter, current_ids
from shared.web.app import caller_dependency, request_id, service_app
from shared.web.auth import Caller
from tests.callers import bearer, checker
from tests.tracing import kept_spans

FLUX_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = service_app("history", "", checks={})
    caller = caller_dependency(checker())

    @app.get("/v1/flux/{flux_id}")
    async def show(request: Request, _: Annotated[Caller, Depends(caller)]) -> dict[str, str]:
        return {"request_id": str(request_id(request)), **current_ids.get()}

    @app.get("/v1/flux/{flux_id}/bug")
    async def fail(_: Annotated[Caller, Depends(caller)]) -> None:
        raise KeyError("a bug")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://history", headers=bearer()) as client:
        yield client


@pytest.fixture(autouse=True)
def as_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonFormatter("history"))
    caplog.set_level(logging.WARNING, "httpx")  # the client's own, as services have it
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    written = [json.loads(line) for line in caplog.text.splitlines()]
    return [line for line in written if line["event"].startswith("request.")]


async def test_an_answer_is_told_by_its_route_its_flux_its_caller_and_how_long_it_took(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = (await http.get(f"/v1/flux/{FLUX_ID}?name=Durand", headers={"X-Filename": "Durand.xml"})).json()
    (line,) = lines(caplog)
    assert (line["event"], line["method"], line["path"]) == ("request.answered", "GET", "/v1/flux/{flux_id}")
    assert (line["status"], line["flux_id"], line["actor"]) == (200, FLUX_ID, "amina")
    assert line["correlation_id"] == answer["request_id"]
    assert isinstance(line["duration_seconds"], float)
    assert "Durand" not in caplog.text


async def test_an_id_that_a_caller_writes_in_capitals_is_the_same(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await http.get(f"/v1/flux/{FLUX_ID.upper()}")
    assert [line["flux_id"] for line in lines(caplog)] == [FLUX_ID]


async def test_what_is_logged_while_a_request_is_answered_names_its_flux_and_nothing_does_after(
    http: httpx.AsyncClient,
) -> None:
    ids = (await http.get(f"/v1/flux/{FLUX_ID}")).json()
    assert (ids["flux_id"], ids["actor"], ids["correlation_id"]) == (FLUX_ID, "amina", ids["request_id"])
    assert current_ids.get() == {}


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [("/v1/flux/Durand", 200, "/v1/flux/{flux_id}"), ("/v1/Durand", 404, "unknown"), ("/Durand", 404, "unknown")],
)
async def test_what_a_caller_writes_into_an_address_is_not_told(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str, status: int, route: str
) -> None:
    await http.get(path)
    (line,) = lines(caplog)
    assert (line["status"], line["path"]) == (status, route)
    assert "Durand" not in caplog.text


async def test_who_is_not_identified_is_told_without_a_name(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await http.get(f"/v1/flux/{FLUX_ID}", headers={"Authorization": "Bearer Durand"})
    (line,) = lines(caplog)
    assert (line["status"], line["flux_id"], "actor" in line) == (401, FLUX_ID, False)
    assert "Durand" not in caplog.text


async def test_our_own_fault_is_told_under_the_flux_that_met_it(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with kept_spans() as spans:
        await http.get(f"/v1/flux/{FLUX_ID}/bug")
    failed, answered = lines(caplog)
    assert (failed["event"], failed["flux_id"], failed["actor"]) == ("request.failed", FLUX_ID, "amina")
    assert (answered["event"], answered["status"]) == ("request.answered", 500)
    assert failed["correlation_id"] == answered["correlation_id"]
    span = spans.named("GET /v1/flux/{flux_id}/bug")
    assert (span.status.description, (span.attributes or {})["http.response.status_code"]) == ("KeyError", 500)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_what_is_asked_every_few_seconds_is_no_news(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with kept_spans() as spans:
        await http.get(path)
    assert lines(caplog) == []
    assert spans.all() == ()
    caplog.set_level(logging.DEBUG)
    await http.get(path)
    (line,) = lines(caplog)
    assert (line["path"], line["level"]) == (path, "debug")


async def test_a_request_is_traced_under_its_id_and_by_its_route(http: httpx.AsyncClient) -> None:
    with kept_spans() as spans:
        answer = (await http.get(f"/v1/flux/{FLUX_ID}?name=Durand", headers={"X-Filename": "Durand.xml"})).json()
    span = spans.named("GET /v1/flux/{flux_id}")
    assert UUID(int=span.context.trace_id) == UUID(answer["request_id"])
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert (span.attributes or {})["heliotrope.flux_id"] == FLUX_ID
    assert "Durand" not in span.to_json()

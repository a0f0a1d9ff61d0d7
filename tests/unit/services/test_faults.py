"""Whatever is badly formed in a request is said in French: every model and every route of every service."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from shared.web.auth import Caller, Role
from shared.web.faults import FAULTS_TOLD_MAX, SENTENCES, faults_of
from shared.web.problems import answer_errors, subject_of
from shared.web.uploads import Bounds

ROOT = Path(__file__).parents[3]
MODULES = [
    import_module(f"services.{path.parent.name}.{path.stem}")
    for path in sorted((ROOT / "services").glob("*/[a-z]*.py"))
    if path.stem != "settings"
]
ENGLISH = re.compile(
    r"\b(the|is|are|be|must|should|not|valid|input|than|or|of|with|for|field|required|give|un\w+able)\b"
)
NOW = "2026-03-31T14:05:00Z"
BAD: tuple[object, ...] = (
    *(None, True, 0, -1, 1.5, 2**80, "", "x", " \u200b\u0007", "\ud800", "x" * 100_000, NOW, "2026-13-40"),
    *([], {}, [None], [[]], [{}], ["x"], [{"type": "x"}], [{"type": "siret", "siret": "x"}], ["x"] * 2_000),
    [{"type": "budget", "id_post": "x", "cod_col": 1, "cod_bud": "?"}],
)


async def operator() -> Caller:
    return Caller("operator", {"*": frozenset(Role)})


def routers() -> Iterator[APIRouter]:
    """Yield the routers of every service; what they would call is not there, and is not reached."""
    for module in MODULES:
        for make in vars(module).values():
            if inspect.isfunction(make) and (asked := inspect.signature(make)).return_annotation is APIRouter:
                given: dict[str, Any] = dict.fromkeys(asked.parameters)
                known = {"caller": operator, "bounds": Bounds(file_bytes_max=1_000, files_max=1)}
                yield make(**given | {name: value for name, value in known.items() if name in given})


ROUTES = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
MODELS = sorted(
    {
        model
        for module in MODULES
        for model in vars(module).values()
        if inspect.isclass(model) and issubclass(model, BaseModel) and model.__module__ == module.__name__
    },
    key=lambda model: (model.__module__, model.__name__),
)


def asking(*routes: APIRoute) -> httpx.AsyncClient:
    """Return what asks an application that has these routes."""
    app = FastAPI()
    answer_errors(app)
    app.router.routes.extend(routes)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def method_of(route: APIRoute) -> str:
    return min(route.methods or ())


def check(errors: list[Any]) -> None:
    """Check that each error has its own sentence, in French."""
    for error, fault in zip(errors, faults_of(errors), strict=False):
        assert error["type"] in SENTENCES, error["type"]
        assert fault["what"]
        assert not ENGLISH.search(fault["what"]), fault
        assert "{" not in fault["what"].replace(str(error.get("ctx", {}).get("pattern", "")), ""), fault


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_what_is_wrong_with_a_field_is_said_in_french(model: type[BaseModel]) -> None:
    said = 0
    bad: list[object] = [None, [], "x", {}, *({name: bad} for name in model.model_fields for bad in BAD)]
    for given in bad:
        try:
            model.model_validate(given)
        except ValidationError as error:
            said += 1
            check(list(error.errors()))
    assert said


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{method_of(route)} {route.path}")
async def test_what_is_wrong_with_a_request_is_said_in_french(route: APIRoute) -> None:
    names = [field.alias for field in (*route.dependant.query_params, *route.dependant.header_params)]
    path = re.sub(r"\{\w+\}", "x", route.path)
    async with asking(route) as client:
        for value in ("x", "-1", "x" * 5_000):
            query = dict.fromkeys((*names, "use", "effective_from", "reason"), value)
            for body in (b"", b"{", b"null", b"[]", b"{}", b'"x"'):
                headers = {"content-type": "application/json", "idempotency-key": value}
                answer = await client.request(method_of(route), path, params=query, content=body, headers=headers)
                if answer.status_code == 422:
                    for fault in answer.json().get("errors", []):
                        assert not ENGLISH.search(fault["what"]), fault


async def test_everything_that_is_badly_formed_in_a_body_is_told() -> None:
    body = {"collectivite": "12", "person": "camille", "name": "Camille", "act": "a", "valid_from": "hier"}
    async with asking(*(route for route in ROUTES if route.path == "/v1/mandates")) as client:
        answer = await client.post("/v1/mandates", json=body)
    assert answer.json()["errors"] == [
        {"where": "body.collectivite", "what": "Ce texte n’a pas la forme attendue : ^[0-9]{9}$."},
        {"where": "body.act", "what": "Ce texte est trop court ; en caractères, le minimum est 3."},
        {
            "where": "body.valid_from",
            "what": "Une date et une heure sont attendues, par exemple 2026-03-31T14:05:00+02:00.",
        },
    ]


async def test_the_values_that_are_admitted_are_told() -> None:
    async with asking(*(route for route in ROUTES if route.path == "/v1/controls/{code}")) as client:
        answer = await client.put("/v1/controls/pj.name", json={"severity": "high", "reason": "Essai"})
    (fault,) = answer.json()["errors"]
    assert fault["what"] == "Cette valeur n’est pas connue. Sont admises : 'blocking', 'warning' ou 'default'."


def test_an_error_of_a_type_that_nobody_foresaw_is_told_in_french_too() -> None:
    error = {"type": "moon_phase", "loc": ("body", "moon"), "msg": "Moon should be full"}
    assert faults_of([error]) == [{"where": "body.moon", "what": "La forme n’est pas celle qui est attendue."}]
    assert len(faults_of([error] * 100)) == FAULTS_TOLD_MAX


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if method_of(route) in {"POST", "PUT"}],
    ids=lambda route: f"{method_of(route)} {route.path}",
)
def test_a_conflict_says_what_it_is_about(route: APIRoute) -> None:
    assert subject_of(route.path) != subject_of("/v1/anything")


@pytest.mark.parametrize(
    ("path", "subject"),
    [("/v1/flux/1/circuit/restart", "Le flux"), ("/v1/mandates/1/end", "Le mandat"), ("/v1/circuits", "Le circuit")],
)
def test_a_conflict_is_about_what_the_address_names_first(path: str, subject: str) -> None:
    assert subject_of(path) == subject

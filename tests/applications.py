"""Every service's HTTP application as it is described: its routes, and nothing behind them.

`python -m tests.applications` prints the proxy's table of who answers what.
"""

import inspect
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

from shared.web.app import service_app
from shared.web.openapi import nginx_map

ROOT = Path(__file__).parents[1]


async def someone() -> None:
    """Stand for whoever calls: these routes are looked at, nobody asks them anything."""


@cache
def applications() -> dict[str, FastAPI]:
    """Return the application of every service of the platform that has an API, by the service's name."""
    found: dict[str, FastAPI] = {}
    files = (ROOT / "services").rglob("[a-z]*.py")
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    for name in modules:
        service = name.split(".")[1]
        if service == "simulator":
            continue
        for make in vars(import_module(name)).values():
            if inspect.isfunction(make) and make.__module__ == name and _gives_routes(make):
                app = found.setdefault(service, service_app(service, "", checks={}))
                app.include_router(_made(make))
    return found


def documents() -> dict[str, dict[str, Any]]:
    """Return the OpenAPI document of each of them."""
    return {service: app.openapi() for service, app in applications().items()}


def _gives_routes(make: Any) -> bool:
    return not make.__name__.startswith("_") and inspect.signature(make).return_annotation is APIRouter


def _made(make: Any) -> APIRouter:
    given = {name: someone if name == "caller" else None for name in inspect.signature(make).parameters}
    router: APIRouter = make(**given)
    return router


if __name__ == "__main__":
    sys.stdout.write(nginx_map(documents()))

"""The HTTP API of `simulator`: what it answers next, and what it has received."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from services.simulator.handler import Guichet
from services.simulator.ports import Registry, Scenario
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.web.auth import Caller, Right
from shared.web.routing import BoundedRoute

RECEIPTS_MAX = 1000


def routes(guichet: Guichet, registry: Registry, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes of `simulator`: whoever reads flux somewhere looks on, and an operator chooses."""
    router = APIRouter(prefix="/v1", tags=["simulator"], route_class=BoundedRoute)

    @router.get("/scenario", summary="Le scénario en cours")
    async def read_scenario(who: Annotated[Caller, Depends(caller)]) -> Scenario:
        who.require_somewhere(Right.READ, "consulter le scénario")
        return guichet.scenario

    @router.put("/scenario", summary="Choisir la réponse aux prochains fichiers")
    async def set_scenario(scenario: Scenario, who: Annotated[Caller, Depends(caller)]) -> Scenario:
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "choisir le scénario")
        guichet.scenario = scenario
        return scenario

    @router.get("/receipts", summary="Les fichiers reçus, et combien de fois chacun l’a été")
    async def read_receipts(
        who: Annotated[Caller, Depends(caller)],
        sha256: str = "",
        limit: Annotated[int, Query(ge=1, le=RECEIPTS_MAX)] = RECEIPTS_MAX,
    ) -> JSONResponse:
        who.require_somewhere(Right.READ, "consulter les fichiers reçus")
        receipts = [receipt for receipt in registry.receipts() if sha256 in ("", receipt.sha256)]
        return JSONResponse(
            {
                "total": len(receipts),
                "counts": Counter(receipt.sha256 for receipt in receipts),
                "receipts": [receipt.model_dump(mode="json") for receipt in receipts[-limit:]],
            }
        )

    return router

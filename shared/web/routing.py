"""The routes of every API: a body that is read for them is read within bounds, whoever sends it."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from pes.units import KIBIBYTE
from shared.web.bodies import read_whole

BODY_BYTES_MAX = 256 * KIBIBYTE  # five hundred identifiers of a collectivité make 50


class BoundedRoute(APIRoute):
    """A route whose body FastAPI reads, before it is known who asks: so never more than `BODY_BYTES_MAX`.

    Routes that read the request by themselves (files, signatures) have bounds of their own.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        return self._bounded(answer) if self.body_field is not None else answer

    @staticmethod
    def _bounded(
        answer: Callable[[Request], Coroutine[Any, Any, Response]],
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def bounded(request: Request) -> Response:
            body = await read_whole(
                request,
                BODY_BYTES_MAX,
                title="Demande trop volumineuse",
                detail=f"Une demande fait {BODY_BYTES_MAX // KIBIBYTE} Kio au plus à cette adresse.",
            )

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await answer(Request(request.scope, again))

        return bounded

"""Bodies of requests, read within bounds.

A body that is refused is read to its end all the same, within bounds, so that the caller, still sending, gets to read
why.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from shared import wording
from shared.errors import RequestRefusedError, Why
from shared.web.faults import faults_of
from shared.web.problems import invalid_request

Wanted = TypeVar("Wanted", bound=BaseModel)


class Body:
    """The body of a request, read once, piece by piece."""

    def __init__(self, stream: AsyncGenerator[bytes, None], *, drained_bytes_max: int) -> None:
        """Read from `stream`; `drain` throws away at most `drained_bytes_max` more bytes."""
        self._stream = stream
        self._drained_bytes_max = drained_bytes_max

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return itself: the pieces that have not been read yet."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece that holds something."""
        while True:
            chunk = await anext(self._stream)
            if chunk:
                return chunk

    async def drain(self) -> None:
        """Read what is left and throw it away, within bounds."""
        left = self._drained_bytes_max
        try:
            async for chunk in self:
                left -= len(chunk)
                if left < 0:
                    return
        except ClientDisconnect:
            return


@asynccontextmanager
async def body_of(request: Request, drained_bytes_max: int) -> AsyncIterator[Body]:
    """Lend the body of a request; a refusal raised in the block goes through once what is left has been drained."""
    body = Body(request.stream(), drained_bytes_max=drained_bytes_max)
    try:
        yield body
    except ClientDisconnect as error:  # the caller is gone: it goes to the logs
        raise RequestRefusedError(
            Why.BADLY_FORMED, "cut-off", "Envoi interrompu", "L’envoi s’est interrompu avant la fin."
        ) from error
    except RequestRefusedError:
        await body.drain()
        raise


async def bounded(
    chunks: AsyncIterator[bytes], bytes_max: int, too_large: RequestRefusedError
) -> AsyncIterator[bytes]:
    """Yield bytes as they come, and refuse them as soon as they are more than `bytes_max`."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise too_large
        yield chunk


async def read_whole(request: Request, bytes_max: int, *, title: str, detail: str) -> bytes:
    """Read the body of a request at once; `title` and `detail` (French) say that it is too large."""
    async with body_of(request, bytes_max) as body:
        refused = RequestRefusedError(Why.TOO_LARGE, "too-large", title, detail)
        return b"".join([chunk async for chunk in bounded(body, bytes_max, refused)])


async def read_json(request: Request, wanted: type[Wanted], bytes_max: int) -> Wanted:
    """Read a request that may be large, but not without bound.

    Raises:
        RequestRefusedError: it is above the bound, or has not the shape that is expected.
    """
    body = await read_whole(
        request,
        bytes_max,
        title="Demande trop volumineuse",
        detail=f"Une demande fait {wording.size(bytes_max)} au plus. Répartissez les flux en plusieurs demandes.",
    )
    try:
        return wanted.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request("élément", faults_of(error.errors())) from error

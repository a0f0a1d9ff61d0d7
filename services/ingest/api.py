"""The HTTP API of `ingest`: import files, cancel a flux."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from urllib.parse import unquote
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from pes.text import printable
from services.ingest import decide
from services.ingest.admission import accepted, admit, cut_off, refuse_early, several, too_large, too_many
from services.ingest.decide import SendChoice
from services.ingest.ports import Documents
from shared import metrics
from shared.errors import NameTakenError, RequestRefusedError, TooLargeError
from shared.facts.envelope import Event, new_id
from shared.facts.events import FluxImported
from shared.facts.lifecycle import State, fold
from shared.facts.reservations import IDEMPOTENCY_KEY
from shared.facts.streams import flux_stream
from shared.journal.history import History
from shared.runtime.documents import bounded
from shared.web.app import problem_members
from shared.web.auth import Caller, Right
from shared.web.deciding import decide_on
from shared.web.multipart import DEFAULT_FILENAME, Body, File, boundary_of, files
from shared.web.texts import Reason

KEY_CHARACTERS_MAX = 200
FILENAME_CHARACTERS_MAX = 255


class Cancellation(BaseModel):
    """Why a flux is withdrawn."""

    reason: Reason


@dataclass(frozen=True)
class ImportRequest:
    """What a request asks for, besides the files: for whom, by whom, when to send, and its Idempotency-Key."""

    collectivite: str
    actor: str
    send: SendChoice
    key: str

    def numbered(self, index: int) -> "ImportRequest":
        """Return what is wanted of one file among several: each has a key of its own."""
        return replace(self, key=f"{self.key}#{index}") if self.key else self


class Importer:
    """Imports files, and takes imports back."""

    def __init__(
        self, *, history: History, documents: Documents, now: Callable[[], datetime], bytes_max: int
    ) -> None:
        """Record in `history`, store in `documents`; refuse files over `bytes_max`."""
        self._history = history
        self._documents = documents
        self._now = now
        self._bytes_max = bytes_max

    async def take(self, file: File, wanted: ImportRequest) -> dict[str, object]:
        """Store one file and record its import.

        Returns:
            What the API answers: the flux id, the digest and size of what came.

        Raises:
            RequestRefusedError: the file is empty, too large, not XML, or already imported.
        """
        try:
            chunks = admit(bounded(file.chunks, self._bytes_max))
            document = await self._documents.put(chunks, bytes_max=self._bytes_max)
        except TooLargeError as error:
            raise too_large(error.bytes_max) from error
        fact = FluxImported(
            document=document,
            filename=_label(file),
            send=wanted.send,
            idempotency_key=wanted.key,
        )
        flux_id = await self._record(fact, wanted)
        return {
            "flux_id": str(flux_id),
            "filename": fact.filename,
            "sha256": document.sha256,
            "size": document.size,
            "collectivite": wanted.collectivite,
            "state": State.IMPORTED,
            "href": f"/v1/flux/{flux_id}",
        }

    async def cancel(self, flux_id: UUID, reason: str, who: Caller) -> None:
        """Withdraw a flux that has not left.

        Raises:
            RequestRefusedError: 404 or 403 without the right, 409 when it is too late.
            VersionConflictError: the flux moves faster than we can follow.
        """
        await decide_on(
            flux_id,
            lambda flux, _: decide.cancel(flux, reason),
            who=who,
            right=Right.SEND,
            action="annuler un flux",
            history=self._history,
            now=self._now,
        )

    async def _record(self, fact: FluxImported, wanted: ImportRequest) -> UUID:
        """Record an import, or find the flux that the same request has already made."""
        event = Event.first(
            fact,
            stream=flux_stream(new_id()),
            collectivite=wanted.collectivite,
            actor=wanted.actor,
            correlation_id=new_id(),
            at=self._now(),
        )
        try:
            await self._history.append([event], expected_version=0)
        except NameTakenError as taken:
            if taken.kind == IDEMPOTENCY_KEY:
                first = fold(past.data for past in await self._history.load(taken.stream_id))
                decide.check_replay(first, fact.document)
                return taken.stream_id
            raise decide.duplicate(taken.stream_id) from taken
        metrics.IMPORTED_BYTES.inc(fact.document.size)
        return event.flux_id


def routes(
    importer: Importer, *, caller: Callable[..., Awaitable[Caller]], file_bytes_max: int, files_max: int
) -> APIRouter:
    """Return the routes of `ingest`."""
    router = APIRouter(prefix="/v1/flux", tags=["flux"])

    @router.post("", status_code=202, summary="Importer un ou plusieurs flux PES")
    async def import_flux(
        request: Request,
        who: Annotated[Caller, Depends(caller)],
        x_collectivite: Annotated[str, Header()] = "",
        x_filename: Annotated[str, Header()] = "",
        idempotency_key: Annotated[str, Header(max_length=KEY_CHARACTERS_MAX)] = "",
        send: str = "when_ready",
    ) -> JSONResponse:
        collectivite = who.choose(x_collectivite, Right.SEND, "importer un flux")
        wanted = ImportRequest(collectivite, who.subject, decide.chosen(send), idempotency_key)
        boundary = boundary_of(request.headers.get("content-type", ""))
        body = Body(request.stream(), drained_bytes_max=file_bytes_max)
        try:
            if boundary is None:
                refuse_early(request.headers, file_bytes_max)
                return accepted(await importer.take(File(unquote(x_filename) or DEFAULT_FILENAME, body), wanted))
            return several(await _take_each(importer, files(body, boundary), wanted, files_max))
        except ClientDisconnect as error:
            raise cut_off() from error
        except RequestRefusedError:
            await body.drain()  # so that the caller, still sending, gets to read the refusal
            raise

    @router.post("/{flux_id}/cancellation", summary="Annuler un flux qui n'est pas encore parti")
    async def cancel_flux(
        flux_id: UUID, cancellation: Cancellation, who: Annotated[Caller, Depends(caller)]
    ) -> JSONResponse:
        await importer.cancel(flux_id, cancellation.reason, who)
        return JSONResponse({"flux_id": str(flux_id), "state": "cancelled"})

    return router


async def _take_each(
    importer: Importer, found: AsyncIterator[File], wanted: ImportRequest, files_max: int
) -> list[dict[str, object]]:
    """Import each file of a request; one that is refused does not stop the others."""
    results: list[dict[str, object]] = []
    async for file in found:
        if len(results) == files_max:
            raise too_many(files_max)
        try:
            taken = await importer.take(file, wanted.numbered(len(results)))
            results.append({"status": 202, **taken})
        except RequestRefusedError as refused:
            results.append({"filename": _label(file), **problem_members(refused)})
    return results


def _label(file: File) -> str:
    """Return the name of a file as it is kept and shown; a sender may put any character in it."""
    return printable(file.filename, FILENAME_CHARACTERS_MAX)

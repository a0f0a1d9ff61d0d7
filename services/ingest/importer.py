"""Imports: a file is stored while it is hashed, then its import is recorded; or taken back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from pes.text import printable
from services.ingest import decide
from services.ingest.admission import admit
from services.ingest.decide import DuplicateError, SendChoice
from services.ingest.ports import Documents
from shared import metrics
from shared.errors import NameTakenError
from shared.facts.envelope import Event, new_id
from shared.facts.flux import FluxImported
from shared.facts.lifecycles.flux import State
from shared.facts.reservations import IDEMPOTENCY_KEY
from shared.facts.streams import flux_stream
from shared.journal.history import History
from shared.journal.reading import read_flux
from shared.web.auth import Caller, Right
from shared.web.deciding import decide_on
from shared.web.multipart import File
from shared.web.problems import flux_set_aside

FILENAME_CHARACTERS_MAX = 255


@dataclass(frozen=True)
class ImportRequest:
    """What a request asks for, besides the files: for whom, by whom, when to send, and its Idempotency-Key.

    `correlation_id` is that of all that follows. `links_to` is the address that stands before the path of a flux;
    empty where all is under one address.
    """

    collectivite: str
    actor: str
    send: SendChoice
    key: str
    correlation_id: UUID
    links_to: str = ""

    def link(self, flux_id: UUID) -> str:
        """Return where a flux is shown."""
        return f"{self.links_to}/v1/flux/{flux_id}"

    def numbered(self, index: int) -> "ImportRequest":
        """Return what is wanted of one file among several: each has a key and a correlation id of its own."""
        return replace(
            self,
            key=f"{self.key}#{index}" if self.key else "",
            correlation_id=new_id() if index else self.correlation_id,
        )


class Importer:
    """Imports files, and takes imports back."""

    def __init__(
        self, *, history: History, documents: Documents, now: Callable[[], datetime], bytes_max: int
    ) -> None:
        """Record in `history`, store in `documents`, where no file may be over `bytes_max`."""
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
        document = await self._documents.put(admit(file.chunks), bytes_max=self._bytes_max)
        fact = FluxImported(
            document=document,
            filename=label(file),
            send=wanted.send,
            idempotency_key=wanted.key,
        )
        flux_id, state = await self._record(fact, wanted)
        return {
            "flux_id": str(flux_id),
            "filename": fact.filename,
            "sha256": document.sha256,
            "size": document.size,
            "collectivite": wanted.collectivite,
            "state": state,
            "href": wanted.link(flux_id),
        }

    async def cancel(self, flux_id: UUID, reason: str, who: Caller) -> None:
        """Withdraw a flux of which nothing has left.

        Raises:
            RequestRefusedError: the caller may not see it, or it is too late.
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

    async def _record(self, fact: FluxImported, wanted: ImportRequest) -> tuple[UUID, State]:
        """Record an import, or find the flux that the same request has already made; return it, and its state."""
        event = Event.first(
            fact,
            stream=flux_stream(new_id()),
            collectivite=wanted.collectivite,
            actor=wanted.actor,
            correlation_id=wanted.correlation_id,
            at=self._now(),
        )
        try:
            await self._history.append([event], expected_version=0)
        except NameTakenError as taken:
            if taken.kind == IDEMPOTENCY_KEY:
                first = read_flux(await self._history.recorded(taken.stream_id))
                if first.set_aside is not None and not first.past:
                    raise flux_set_aside(taken.stream_id, first.set_aside.reason, first.set_aside.kind) from taken
                decide.check_replay(taken.stream_id, first.flux, fact.document)
                return taken.stream_id, first.flux.state or State.IMPORTED
            raise DuplicateError(taken.stream_id) from taken
        metrics.IMPORTED_BYTES.inc(fact.document.size)
        return event.flux_id, State.IMPORTED


def label(file: File) -> str:
    """Return the name of a file as it is kept and shown; a sender may put any character in it."""
    return printable(file.filename, FILENAME_CHARACTERS_MAX)

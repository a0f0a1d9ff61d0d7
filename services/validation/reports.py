"""What can be read of a judged flux: its findings, its synthèse, its attachments, its difference with another."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pes.synthese import Json
from pes.tasks import CompareTask, ExtractTask, compare, extract_file
from pes.vocabulary import Finding
from services.validation import decide
from services.validation.handler import run_twice
from services.validation.ports import Documents, Scratch, Workers
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.flux import FluxInvalidated, FluxValidated
from shared.facts.lifecycles.flux import Flux
from shared.journal.history import History
from shared.runtime.workers import WorkerLostError
from shared.web.auth import Caller, Right
from shared.web.deciding import VisibleFlux, decide_on, load_flux

_WHY = {
    "missing": "le flux n’en a pas à cette place",
    "empty": "elle est vide",
    "too-large": "elle est trop volumineuse une fois décompressée",
    "infected": "l’antivirus a trouvé quelque chose dans ce flux",
}
_FAULTS = {
    "missing": (Why.NOT_FOUND, "Pièce jointe introuvable"),
    "too-large": (Why.UNUSABLE, "Pièce jointe trop volumineuse"),
    "infected": (Why.UNUSABLE, "Fichier infecté"),
}


@dataclass(frozen=True)
class Attachment:
    """A PJ as it was before its sender packed it."""

    name: str
    sha256: str
    content: bytes


@dataclass(frozen=True)
class Reports:
    """Reads what was found in flux, and lets duplicates pass."""

    history: History
    documents: Documents
    scratch: Scratch
    workers: Workers
    now: Callable[[], datetime]
    attachment_bytes_max: int

    async def findings(self, flux_id: UUID, who: Caller) -> dict[str, object]:
        """Return every finding of the last judgement, however many there are."""
        judged = _last_judgement(await self._visible(flux_id, who))
        if judged.report is not None:
            found: list[object] = json.loads(await self.documents.read(judged.report.sha256))
        else:
            found = [finding.model_dump(mode="json") for finding in _in_fact(judged)]
        pack = judged.pack.model_dump() if judged.pack else None
        return {"flux_id": str(flux_id), "pack": pack, "findings": found}

    async def synthese(self, flux_id: UUID, who: Caller, page: int) -> dict[str, object]:
        """Return the index of the synthèse (page 0), or one page of pièces (from 1)."""
        index = await self._index(await self._visible(flux_id, who))
        pages = index.pop("pages")
        digests = pages if isinstance(pages, list) else []
        if page == 0:
            return {"flux_id": str(flux_id), **index, "pages_total": len(digests)}
        if page > len(digests):
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "page-not-found",
                "Page inexistante",
                f"La synthèse a {len(digests)} pages ; demandée : {page}.",
            )
        pieces = json.loads(await self.documents.read(digests[page - 1]))
        return {"flux_id": str(flux_id), "page": page, "pages_total": len(digests), "pieces": pieces}

    async def difference(self, old: UUID, new: UUID, who: Caller) -> dict[str, object]:
        """Return what changed from one flux to another."""
        was, now = [await self._index(await self._visible(one, who)) for one in (old, new)]
        task = CompareTask(was, await self._pages(was), now, await self._pages(now))
        try:
            found = await run_twice(self.workers, compare, task)
        except WorkerLostError as error:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "not-comparable",
                "Comparaison impossible",
                "Ces flux sont trop gros pour être comparés ici. Comparez leurs fichiers : heliotrope diff.",
            ) from error
        return {"since": str(old), "flux_id": str(new), **json.loads(found)}

    async def attachment(self, flux_id: UUID, position: int, who: Caller) -> Attachment:
        """Return the original bytes of one PJ.

        Raises:
            RequestRefusedError: there is none at that place, or it cannot be opened.
        """
        known = await self._visible(flux_id, who)
        if any(finding.code == "antivirus.infected" for finding in decide.blocking(known.past)):
            raise _not_extracted(position, "infected")
        chunks = self.documents.stream(known.imported.document.sha256)
        async with self.scratch.keep(chunks) as path, self.scratch.room() as into:
            task = ExtractTask(path, max(position, 0), into, self.attachment_bytes_max)
            try:
                taken = await run_twice(self.workers, extract_file, task)
            except WorkerLostError as error:
                raise _not_extracted(position, "unreadable") from error
            if taken.fault:
                raise _not_extracted(position, taken.fault)
            content = await asyncio.to_thread(into.read_bytes)
        return Attachment(taken.name or f"pj-{position}", taken.sha256, content)

    async def accept(self, flux_id: UUID, reason: str, who: Caller, *, seen: int) -> dict[str, object]:
        """Record that someone answers for a duplicate, as the flux named it when it had this version.

        Raises:
            RequestRefusedError: the caller may not see the flux, or it is no duplicate.
        """

        def let_pass(flux: Flux, past: Sequence[Event]) -> list[Fact]:
            return decide.accept(flux, [one.code for one in decide.blocking(past)], reason.strip())

        decided = await decide_on(
            flux_id,
            let_pass,
            who=who,
            right=Right.SEND,
            action="accepter un doublon",
            history=self.history,
            now=self.now,
            seen=seen,
        )
        return {"flux_id": str(flux_id), "state": decided.flux.state, "on_screen": decided.flux.on_screen}

    async def _visible(self, flux_id: UUID, who: Caller) -> VisibleFlux:
        return await load_flux(flux_id, who=who, history=self.history)

    async def _index(self, known: VisibleFlux) -> Json:
        judged = _last_judgement(known)
        if judged.synthese is None:
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "no-synthese",
                "Pas de synthèse",
                "Le contenu de ce flux n’a pas pu être lu : voyez ses anomalies.",
            )
        index: Json = json.loads(await self.documents.read(judged.synthese.sha256))
        return index

    async def _pages(self, index: Json) -> tuple[bytes, ...]:
        digests = index["pages"]
        return tuple([await self.documents.read(one) for one in digests]) if isinstance(digests, list) else ()


def _last_judgement(known: VisibleFlux) -> FluxValidated | FluxInvalidated:
    for event in reversed(known.past):
        if isinstance(event.data, FluxValidated | FluxInvalidated):
            return event.data
    raise RequestRefusedError(
        Why.AS_THINGS_STAND,
        "not-judged",
        "Flux pas encore contrôlé",
        "Le contrôle de ce flux n’est pas terminé. Recommencez bientôt.",
    )


def _in_fact(judged: FluxValidated | FluxInvalidated) -> tuple[Finding, ...]:
    return judged.findings if isinstance(judged, FluxInvalidated) else judged.warnings


def _not_extracted(position: int, fault: str) -> RequestRefusedError:
    why, title = _FAULTS.get(fault, (Why.UNUSABLE, "Pièce jointe illisible"))
    return RequestRefusedError(
        why,
        "attachment-not-extracted",
        title,
        f"La pièce jointe {position} ne peut pas être extraite : {_WHY.get(fault, 'son contenu est illisible')}. "
        "Voyez la synthèse pour la liste des PJ.",
    )

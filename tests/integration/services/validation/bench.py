"""Judging flux for real: what its tests share."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx

from services.validation.adapters.scratch import ScratchFolder
from services.validation.handler import Judges, on_imported
from shared.facts import flux
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.journal.history import PostgresHistory
from shared.runtime.documents import DocumentStore
from shared.web.auth import Role
from tests import examples as an
from tests.callers import COMMUNE, bearer
from tests.judging import replacing
from tests.recording import begun

MEBIBYTE = 1024 * 1024
OPERATOR = bearer("*", role=Role.OPERATOR)
SENT = [an.signature_requested, an.signed, an.requested, an.attempted, an.transmitted]


@dataclass
class Bench:
    """The service, and what it leaves behind; `history` is open to what any service records."""

    http: httpx.AsyncClient
    history: PostgresHistory
    documents: DocumentStore
    judges: Judges
    scratch: ScratchFolder
    folder: Path

    async def imported(self, content: bytes, collectivite: str = COMMUNE) -> Event:
        """Record an import, and return its event."""
        document = await self.documents.put_bytes(content)
        fact = flux.FluxImported(document=document, filename="flux.xml")
        event = begun(fact, collectivite=collectivite, at=datetime.now(UTC))
        (recorded,) = await self.history.append([event], expected_version=0)
        return recorded

    async def hear(self, event: Event) -> None:
        await on_imported(
            event,
            event.data,
            judges=self.judges,
            documents=self.documents,
            scratch=self.scratch,
            history=self.judges.history,
        )

    async def judged(self, content: bytes, collectivite: str = COMMUNE) -> tuple[UUID, Fact]:
        """Import a file and have it judged; return the flux and the last fact."""
        event = await self.imported(content, collectivite)
        await self.hear(event)
        return event.flux_id, await self.last(event.flux_id)

    async def last(self, flux_id: UUID) -> Fact:
        return (await self.history.load(flux_id))[-1].data

    async def add(self, flux_id: UUID, *facts: Fact) -> None:
        """Record what other services would."""
        past = await self.history.load(flux_id)
        events = [past[-1].follow(fact, actor="x", at=datetime.now(UTC)) for fact in facts]
        await self.history.append(events, expected_version=len(past))

    def scratch_files(self) -> list[Path]:
        return list(self.folder.rglob("heliotrope-validation-*/*"))


def renamed(content: bytes, nomfic: str) -> bytes:
    return replacing(r'(?<=<NomFic V=")[^"]*', nomfic)(content.decode("latin-1")).encode("latin-1")


def codes(fact: Fact) -> set[str]:
    assert isinstance(fact, flux.FluxInvalidated)
    return {finding.code for finding in fact.findings if finding.severity == "blocking"}

"""What `validation` does when it hears of a fact: it judges the file, and records what it found.

Theory of operation. A flux may be refused for an identifier that is registered while it is judged. What is registered
is recorded, then `on_registered` looks at the refused flux; the judge records its refusal, then looks at what is
registered. So one of both sees what the other has recorded, and has the flux judged anew; a message comes again until
that is done. The API that registers looks too, only to answer at once.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from pes.judge import Judgement
from pes.reader import too_costly
from pes.schemas.packs import BUILT_IN, PackFiles
from pes.synthese import to_json
from pes.tasks import ExtractAllTask, Judged, JudgeTask, extract_all, judge_file
from pes.text import PARIS
from pes.units import MEBIBYTE
from pes.vocabulary import Severity
from services.validation.decide import (
    Beside,
    Holder,
    blocking,
    decide,
    in_context,
    infected,
    names_of,
    needs_report,
    of_known_collectivite,
)
from services.validation.identity import complete
from services.validation.ports import Antivirus, Collectivites, Documents, Packs, Policies, Scratch, Workers
from shared import metrics
from shared.errors import MalformedMessageError, NameTakenError, VersionConflictError
from shared.facts.collectivite import Identifier, IdentifierRegistered
from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxInvalidated
from shared.facts.lifecycles.flux import State, fold
from shared.facts.reservations import Reservation
from shared.facts.values import Document
from shared.journal.history import History
from shared.journal.reading import read_flux
from shared.runtime.workers import TooCostlyError, WorkerLostError

logger = logging.getLogger(__name__)

ACTOR = "validation"
TRIES = 2  # a worker may be lost for another reason than its task: once is no proof
CHUNK_BYTES = MEBIBYTE
JUDGED_ANEW_MAX = 500
REGISTERED_MEANWHILE = "Enregistrés pendant que le flux était contrôlé"

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Judges:
    """Judges files: what imports and pre-flight checks have in common."""

    history: History
    packs: Packs
    policies: Policies
    collectivites: Collectivites
    workers: Workers
    scratch: Scratch
    antivirus: Antivirus | None
    now: Callable[[], datetime]
    attachment_bytes_max: int

    async def judge(
        self,
        path: Path,
        collectivite: str,
        *,
        flux_id: UUID | None = None,
        accepted: Collection[UUID] = (),
        pack_id: str = "",
        with_synthese: bool = True,
    ) -> Judged:
        """Judge the file at a path.

        Args:
            path: where its bytes are.
            collectivite: the SIREN of whom it is for.
            flux_id: the flux that it is, if it is one: what it holds itself is no duplicate.
            accepted: the flux that this one may repeat: someone answers for it.
            pack_id: judge with this pack instead of those in force.
            with_synthese: read the synthèse too.

        Raises:
            UnavailableError: the antivirus or the database does not answer. Try again.
            WorkerLostError: no worker survives this file.
        """
        try:
            if (found := await self._virus(path)) is not None:
                metrics.JUDGED.labels("infected").inc()
                return Judged(infected(found))
            policy = await self.policies.of(collectivite)
            task = replace(await self._task(path, collectivite, policy, pack_id), with_synthese=with_synthese)
            judged = await run_twice(self.workers, judge_file, task)
        except TooCostlyError as error:
            return self._too_costly(error)
        judgement = await self._of_known(judged.judgement, collectivite, flux_id)
        taken = await self._holders(names_of(judgement, collectivite), flux_id)
        judgement = in_context(judgement, taken, collectivite=collectivite, policy=policy, accepted=accepted)
        metrics.JUDGED.labels(judgement.verdict).inc()
        return Judged(judgement, judged.index, judged.pages)

    async def _virus(self, path: Path) -> str | None:
        """Return the name of what the antivirus finds in the file as it is, or in its unpacked attachments."""
        if self.antivirus is None:
            return None
        if found := await self.antivirus.scan(read_pieces(path)):
            return found
        async with self.scratch.folder() as folder:
            task = ExtractAllTask(path, folder, self.attachment_bytes_max)
            count = await run_twice(self.workers, extract_all, task)
            for number in range(1, count + 1):
                attachment = folder / str(number)
                if attachment.exists() and (found := await self.antivirus.scan(read_pieces(attachment))):
                    return found
        return None

    def _too_costly(self, error: TooCostlyError) -> Judged:
        logger.warning("worker.too_costly", extra={"reason": str(error)})
        metrics.JUDGED.labels("unreadable").inc()
        return Judged(Judgement("unreadable", (too_costly(str(error)),)))

    async def _of_known(self, judgement: Judgement, collectivite: str, flux_id: UUID | None) -> Judgement:
        known = await self.collectivites.identifiers(collectivite)
        return of_known_collectivite(judgement, known, collectivite=collectivite, flux_id=flux_id)

    async def _task(self, path: Path, collectivite: str, policy: Mapping[str, Severity], pack_id: str) -> JudgeTask:
        today = self.now().astimezone(PARIS).date()
        active, shadows, files = await self._packs(today, pack_id)
        bytes_max = self.attachment_bytes_max
        return JudgeTask(path, collectivite, today, active, shadows, files, policy, attachment_bytes_max=bytes_max)

    async def _packs(
        self, today: date, pack_id: str
    ) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, PackFiles]]:
        """Return the digests of the packs that apply, of those on trial, and the files of installed ones."""
        packs = await self.packs.all()
        if pack_id:
            active = tuple(pack.digest for pack in packs if pack.pack_id == pack_id)
            shadows: tuple[str, ...] = ()
        else:
            in_force = [pack for pack in packs if pack.is_in_force(today)]
            active = tuple(pack.digest for pack in in_force if pack.use == "active")
            shadows = tuple(pack.digest for pack in in_force if pack.use == "shadow")
        installed = {pack.digest for pack in packs if pack.pack_id != BUILT_IN}  # a worker has that one itself
        wanted = installed & {*active, *shadows}
        return active, shadows, {digest: await self.packs.files(digest) for digest in wanted}

    async def _holders(self, names: Sequence[Reservation], flux_id: UUID | None) -> dict[Reservation, Holder]:
        held = {name: holder for name, holder in (await self.history.holders(names)).items() if holder != flux_id}
        known: dict[UUID, Holder] = {}
        for holder in held.values():
            if holder not in known:
                recorded = await self.history.recorded(holder)
                state = read_flux(recorded).flux.state  # as far as it can be read: it does not stop this one
                known[holder] = Holder(holder, recorded[0].collectivite if recorded else "", state)
        return {name: known[holder] for name, holder in held.items()}


async def on_imported(
    event: Event, _: Fact, *, judges: Judges, documents: Documents, scratch: Scratch, history: History
) -> None:
    """Judge an imported file; again once its duplicates were accepted, or what it names was registered."""
    past = await history.load(event.flux_id)
    flux = fold(one.data for one in past)
    if flux.imported is not None and flux.state is State.IMPORTED:
        async with scratch.keep(documents.stream(flux.imported.document.sha256)) as path:
            try:
                judged = await judges.judge(path, event.collectivite, flux_id=event.flux_id, accepted=flux.accepted)
            except WorkerLostError as error:
                # It is parked: an operator looks at the file, and has it judged again or cancelled.
                raise MalformedMessageError(f"no worker survives this file: {error}") from error
        facts = decide(flux, judged.judgement, await keep_beside(judged, documents))
        events = [event.follow(fact, actor=ACTOR, at=judges.now()) for fact in facts]
        try:
            past += await history.append(events, expected_version=flux.version)
        except NameTakenError as taken:
            # Another flux took the name since we looked: look again.
            raise VersionConflictError(event.flux_id, flux.version) from taken
    known = await judges.collectivites.identifiers(event.collectivite)
    await _judge_anew(past, known, REGISTERED_MEANWHILE, actor=ACTOR, history=history, now=judges.now)


async def on_registered(
    event: Event,
    registered: IdentifierRegistered,
    *,
    collectivites: Collectivites,
    history: History,
    now: Callable[[], datetime],
) -> None:
    """Have every flux judged anew that was refused for nothing but what is registered by now."""
    known = await collectivites.identifiers(event.collectivite)
    for flux_id in await refused_flux(event.collectivite, history):
        read = read_flux(await history.recorded(flux_id))
        if read.set_aside is None:
            await _judge_anew(read.past, known, registered.reason, actor=event.actor, history=history, now=now)


async def refused_flux(collectivite: str, history: History) -> Sequence[UUID]:
    """Return the last flux of a collectivité that validation refused, so many at most."""
    refused = await history.whose_last_fact_is(kind_of(FluxInvalidated), [collectivite])
    return refused[-JUDGED_ANEW_MAX:]


async def _judge_anew(
    past: Sequence[Event],
    known: Collection[Identifier],
    reason: str,
    *,
    actor: str,
    history: History,
    now: Callable[[], datetime],
) -> None:
    """Have a flux judged anew, if it was refused for nothing but identifiers, and they are registered now."""
    flux = fold(event.data for event in past)
    facts = complete(flux, [one.code for one in blocking(past)], known, reason)
    events = [past[-1].follow(fact, actor=actor, at=now()) for fact in facts]
    if events:
        await history.append(events, expected_version=flux.version)


async def keep_beside(judged: Judged, documents: Documents) -> Beside:
    """Keep the synthèse and, when it is long, the report of the findings."""
    synthese = await _keep_synthese(judged, documents) if judged.index else None
    findings = judged.judgement.findings
    report = None
    if needs_report(findings):
        report = await documents.put_bytes(to_json([one.model_dump(mode="json") for one in findings]))
    return Beside(synthese, report)


async def _keep_synthese(judged: Judged, documents: Documents) -> Document:
    """Keep the pages, each under its own digest, and an index that names them."""
    pages = [await documents.put_bytes(page) for page in judged.pages]
    names = to_json([page.sha256 for page in pages])
    return await documents.put_bytes(judged.index[:-1] + b',"pages":' + names + b"}")


async def run_twice(workers: Workers, do: Callable[[Task], Answer], task: Task) -> Answer:
    """Have a worker do something; when it is lost, have another one try once."""
    for _ in range(TRIES - 1):
        try:
            return await workers.run(do, task)
        except TooCostlyError:
            raise  # it would cost as much again
        except WorkerLostError as error:
            logger.warning("worker.lost", extra={"reason": str(error)})
    return await workers.run(do, task)


async def read_pieces(path: Path) -> AsyncIterator[bytes]:
    """Yield the bytes of a scratch file."""
    with path.open("rb") as file:  # a temporary file: it is read from memory
        while piece := file.read(CHUNK_BYTES):
            yield piece

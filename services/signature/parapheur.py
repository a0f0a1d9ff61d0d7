"""The parapheur: what signatories and those who approve ask for, one flux or hundreds at a time.

To sign takes two requests, and the key is in neither. `prepare` hands out, for each element, the exact bytes to sign
under a certificate; `complete` brings the values back: they are verified, inserted, and the result is recorded.
Nothing is kept between the two: what was prepared follows from the file, the certificate, the time and what the
signatory states, so `complete` prepares it again and whatever differs does not verify.

Right, circuit and mandate are looked at both times. Each flux is answered for by itself, by the caller's right in its
collectivité: what is wrong with one does not stop the others.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography import x509

from pes.vocabulary import Finding
from services.signature.circuits import whom_they_replace
from services.signature.decide import NotYoursError, Turn, recorded, restart, turn_of
from services.signature.examination import Examiner
from services.signature.mandates import Mandate, Refusal, mandate_of
from services.signature.ports import Documents, Registries
from shared.errors import (
    CorruptDocumentError,
    DocumentMissingError,
    RequestRefusedError,
    UnavailableError,
    VersionConflictError,
    Why,
)
from shared.facts.envelope import Event, format_time
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import BordereauxSigned, SignatureRefused, SignatureRequested, VisaGiven
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.values import CircuitStep
from shared.journal.history import History
from shared.journal.reading import read_flux
from shared.retrying import until_no_conflict
from shared.web.auth import Caller, Right
from shared.web.deciding import VisibleFlux, decide_on, load_flux
from shared.web.problems import problem_members
from signing.certificates import ANNOUNCED_BEFORE, fingerprint, whole_name
from signing.outline import UnsignableError, read_outline
from signing.trust import CLOCKS_APART
from signing.xades import Prepared, Stated, complete, prepare

logger = logging.getLogger(__name__)

PREPARED_FOR: Final = timedelta(minutes=15)
PENDING_MAX: Final = 1000
_SIGN: Final = "signer un flux"  # what a right is asked for

Item = dict[str, object]
StepTaken = VisaGiven | BordereauxSigned | SignatureRefused


@dataclass(frozen=True)
class Signer:
    """With what someone signs, and what they state."""

    certificate: x509.Certificate
    stated: Stated


@dataclass(frozen=True)
class Parapheur:
    """Prepares and completes signatures, and takes the other steps of circuits."""

    history: History
    documents: Documents
    registries: Registries
    examiner: Examiner
    now: Callable[[], datetime]

    async def prepare(self, flux_ids: Sequence[UUID], signer: Signer, who: Caller) -> Item:
        """Return the bytes to sign in each flux; see the module.

        Raises:
            RequestRefusedError: the caller may sign nothing.
        """
        who.require_somewhere(Right.SIGN, _SIGN)
        now = self.now()
        at = now.replace(microsecond=0)  # a signature states its time to the second

        async def one(flux_id: UUID) -> Item:
            known = await self._load(flux_id, who, Right.SIGN, _SIGN)
            turn, _ = await self._may_sign(known, signer.certificate, who, now, at)
            document = await self._read(known.flux)
            prepared = await _prepared(document, known.flux.left_to_sign, signer, at)
            return {
                "status": "prepared",
                "step": turn.number,
                "document": known.flux.document.model_dump() if known.flux.document else None,
                "elements": [_element(element) for element in prepared],
                "bordereaux": _bordereaux(known.flux, only_left=True),
            }

        items = [await _answered(flux_id, one(flux_id)) for flux_id in dict.fromkeys(flux_ids)]
        certificate = signer.certificate
        return {
            "signing_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "certificate": {
                "subject": whole_name(certificate.subject),
                "until": format_time(certificate.not_valid_after_utc),
                "is_announced": certificate.not_valid_after_utc - at < ANNOUNCED_BEFORE,
            },
            "items": items,
        }

    async def complete(
        self, values: Mapping[UUID, Mapping[str, bytes]], signer: Signer, signing_time: datetime, who: Caller
    ) -> Item:
        """Record the signatures of each flux: `values` holds, by flux and by element, what the key made.

        Raises:
            RequestRefusedError: the caller may sign nothing, or it was prepared too long ago.
        """
        who.require_somewhere(Right.SIGN, _SIGN)
        now = self.now()
        if not now - PREPARED_FOR <= signing_time <= now + CLOCKS_APART:
            raise RequestRefusedError(
                Why.AS_THINGS_STAND,
                "prepared-too-long-ago",
                "Préparation périmée",
                f"Une signature revient dans les {PREPARED_FOR.seconds // 60} minutes qui suivent sa préparation. "
                "Préparez-la de nouveau : rien n’a été enregistré.",
            )

        def one(flux_id: UUID, given: Mapping[str, bytes]) -> Coroutine[None, None, Item]:
            return until_no_conflict(lambda: self._complete_one(flux_id, given, signer, signing_time, who))

        return {"items": [await _answered(flux_id, one(flux_id, given)) for flux_id, given in values.items()]}

    async def give_visa(
        self, flux_ids: Sequence[UUID], comment: str, who: Caller, *, step: int | None = None
    ) -> Item:
        """Approve each flux at the step where it is, or at this one.

        A visa that the caller has just given is given: who asks twice does not take the next step as well, unless
        they name it.
        """

        def decide(turn: Turn) -> Fact:
            if step is not None and turn.number != step:
                raise NotYoursError(f"Le flux n’est plus à l’étape {step}, mais à l’étape {turn.number}.")
            if turn.step.kind != "visa":
                raise NotYoursError(f"L’étape {turn.number} demande une signature : un visa n’y suffit pas.")
            return VisaGiven(step=turn.number, on_behalf_of=turn.on_behalf_of, comment=comment)

        def given(known: VisibleFlux) -> int | None:
            last = known.last
            if not isinstance(last.data, VisaGiven) or last.actor != who.subject:
                return None
            return last.data.step if step in (None, last.data.step) else None

        return await self._take_steps(flux_ids, who, "viser un flux", decide, "visa", given)

    async def refuse(self, flux_ids: Sequence[UUID], reason: str, who: Caller) -> Item:
        """Decline each flux at the step where it is: it goes back to whoever imported it, with the reason."""

        def decide(turn: Turn) -> Fact:
            return SignatureRefused(step=turn.number, on_behalf_of=turn.on_behalf_of, reason=reason)

        return await self._take_steps(flux_ids, who, "refuser un flux", decide, "declined")

    async def restart(self, flux_id: UUID, reason: str, who: Caller) -> Item:
        """Begin the circuit again, as it is set now, on the file as it was imported."""
        decided = await decide_on(
            flux_id,
            lambda flux, _: restart(flux, reason),
            who=who,
            right=Right.SEND,
            action="relancer un circuit de signature",
            history=self.history,
            now=self.now,
        )
        return {"flux_id": str(flux_id), "status": "restarted", **_state(decided.flux)}

    async def circuit(self, flux_id: UUID, who: Caller) -> Item:
        """Return the steps of a flux: which are taken, by whom, which is next, since when, for whom."""
        known = await self._load(flux_id, who, Right.READ, "lire un circuit")
        flux, now = known.flux, self.now()
        is_waiting = flux.state is State.TO_SIGN
        delegations = [one for one in await self.registries.delegations(known.collectivite) if one.holds(now)]
        mandated = {one.person for one in await self.registries.mandates(known.collectivite) if one.holds(now)}
        steps = []
        for number, step in enumerate(flux.circuit, start=1):
            shown = _step_shown(number, step, known)
            if shown["status"] == "next":
                shown["substitutes"] = sorted({one.substitute for one in delegations if one.absent in step.any_of})
                if step.kind == "signature":
                    shown["without_mandate"] = [one for one in step.any_of if one not in mandated]
            steps.append(shown)
        return {
            "flux_id": str(flux_id),
            **_state(flux),
            "steps": steps,
            "since": format_time(known.last.occurred_at) if is_waiting and flux.step else None,
            "is_mine": is_waiting and await self._is_turn_of(known, who),
        }

    async def document(self, flux_id: UUID, who: Caller) -> bytes:
        """Return the bytes of a flux as they are now: what a signatory reads before signing."""
        return await self._read((await self._load(flux_id, who, Right.READ, "lire un flux")).flux)

    async def pending(self, who: Caller) -> Item:
        """Return the flux whose next step the caller may take, the oldest first; `more` says there are others."""
        who.require_somewhere(Right.APPROVE, "consulter les flux à viser ou à signer")
        perimeter = who.perimeter(Right.APPROVE)
        found: list[Item] = []
        for kind in (SignatureRequested, VisaGiven, BordereauxSigned):
            for flux_id in await self.history.whose_last_fact_is(kind_of(kind), perimeter):
                read = read_flux(await self.history.recorded(flux_id))
                if read.set_aside is not None:
                    logger.warning("signature.set_aside", extra={"set_aside_flux_id": str(flux_id)})
                    continue
                known = VisibleFlux(read.flux, read.past)
                if known.flux.step is not None and await self._is_turn_of(known, who):
                    found.append(_waiting(known))
        found.sort(key=lambda one: str(one["since"]))
        return {"flux": found[:PENDING_MAX], "more": len(found) > PENDING_MAX}

    # --- One flux ------------------------------------------------------------------------------------------------

    async def _complete_one(
        self, flux_id: UUID, given: Mapping[str, bytes], signer: Signer, signing_time: datetime, who: Caller
    ) -> Item:
        known = await self._load(flux_id, who, Right.SIGN, _SIGN)
        done = {one.element_id: one for one in known.flux.signatures}
        wanted = [element_id for element_id in given if element_id not in done]
        mine = fingerprint(signer.certificate)
        if not wanted and all(done[element_id].certificate_sha256 == mine for element_id in given):
            return {"status": "signed", "elements": list(given), **_state(known.flux)}  # asked twice
        now = self.now()
        turn, mandate = await self._may_sign(known, signer.certificate, who, now, signing_time)
        strangers = sorted(set(given).difference(known.flux.left_to_sign))
        if strangers:
            raise _refused("not-asked", f"La signature de « {strangers[0]} » n’est pas demandée à cette étape.")
        document = await self._read(known.flux)
        prepared = await _prepared(document, wanted, signer, signing_time)
        signed = complete(document, prepared, [given[one.element_id] for one in prepared])
        report = await self.examiner.examine(signed)
        made = [one for one in report.signatures if one.element_id in given]
        wrong = [finding for one in made for finding in one.findings if finding.severity == "blocking"]
        if wrong or len(made) != len(given):
            raise _not_holding(wrong)
        fact = BordereauxSigned(
            step=turn.number,
            document=await self.documents.put_bytes(signed),
            signatures=tuple(recorded(one, mandate) for one in made),
            on_behalf_of=turn.on_behalf_of,
        )
        after = await self._append(known, [fact], who)
        return {"status": "signed", "elements": list(given), **_state(after)}

    async def _take_steps(
        self,
        flux_ids: Sequence[UUID],
        who: Caller,
        action: str,
        decide: Callable[[Turn], Fact],
        status: str,
        taken: Callable[[VisibleFlux], int | None] = lambda _: None,
    ) -> Item:
        """Take the step of each flux; `taken` says which one the caller has just taken: it is answered as done."""
        who.require_somewhere(Right.APPROVE, action)

        async def one(flux_id: UUID) -> Item:
            known = await self._load(flux_id, who, Right.APPROVE, action)
            if (number := taken(known)) is not None:
                return {"status": status, "step": number, **_state(known.flux)}
            turn = await self._turn(known, who, self.now())
            after = await self._append(known, [decide(turn)], who)
            return {"status": status, "step": turn.number, **_state(after)}

        def attempts(flux_id: UUID) -> Coroutine[None, None, Item]:
            return until_no_conflict(lambda: one(flux_id))

        return {"items": [await _answered(flux_id, attempts(flux_id)) for flux_id in dict.fromkeys(flux_ids)]}

    async def _may_sign(
        self,
        known: VisibleFlux,
        certificate: x509.Certificate,
        who: Caller,
        at: datetime,
        signing_time: datetime,
    ) -> tuple[Turn, Mandate]:
        """Return whose turn it is and the mandate, when the caller may sign this flux now with this certificate."""
        turn = await self._turn(known, who, at)
        if turn.step.kind != "signature":
            raise NotYoursError(f"L’étape {turn.number} demande un visa, pas encore une signature.")
        mandates = await self.registries.mandates(known.collectivite)
        mandate = mandate_of(
            who.subject,
            mandates,
            at=at,
            certificate_sha256=fingerprint(certificate),
            signing_time=signing_time,
        )
        if isinstance(mandate, Refusal):
            raise _refused(mandate.code, mandate.reason)
        findings = await self.examiner.judge_certificate(certificate, at)
        blocking = [finding for finding in findings if finding.severity == "blocking"]
        if blocking:
            raise _not_holding(blocking)
        return turn, mandate

    async def _turn(self, known: VisibleFlux, who: Caller, at: datetime) -> Turn:
        if known.flux.state is not State.TO_SIGN:
            raise _refused(
                "not-waiting",
                f"Le flux n’attend ni visa ni signature : il est « {known.flux.on_screen} ».",
            )
        delegations = await self.registries.delegations(known.collectivite)
        return turn_of(
            known.flux,
            who.subject,
            whom_they_replace(who.subject, delegations, at),
            may_sign=who.may(Right.SIGN, known.collectivite),
        )

    async def _is_turn_of(self, known: VisibleFlux, who: Caller) -> bool:
        try:
            await self._turn(known, who, self.now())
        except NotYoursError:
            return False
        return who.may(Right.APPROVE, known.collectivite)

    async def _read(self, flux: Flux) -> bytes:
        if flux.document is None:
            raise ValueError("a flux that was imported has a document")
        return await self.documents.read(flux.document.sha256)

    async def _load(self, flux_id: UUID, who: Caller, right: Right, action: str) -> VisibleFlux:
        return await load_flux(flux_id, who=who, history=self.history, right=right, action=action)

    async def _append(self, known: VisibleFlux, facts: Sequence[Fact], who: Caller) -> Flux:
        events = [known.last.follow(fact, actor=who.subject, at=self.now()) for fact in facts]
        await self.history.append(events, expected_version=known.flux.version)
        flux = known.flux
        for fact in facts:
            flux = flux.evolve(fact)
        return flux


async def _prepared(document: bytes, elements: Sequence[str], signer: Signer, at: datetime) -> list[Prepared]:
    """Prepare the signatures of some elements, in a thread: a large document takes a moment."""

    def work() -> list[Prepared]:
        outline = read_outline(document)
        return prepare(
            document,
            [target for target in outline.targets if target.element_id in elements],
            certificate=signer.certificate,
            signing_time=at,
            stated=signer.stated,
            outline=outline,
        )

    return await asyncio.to_thread(work)


async def _answered(flux_id: UUID, doing: Coroutine[None, None, Item]) -> Item:
    """Return what became of one flux; what is refused is told in its place, and does not stop the others."""
    try:
        return {"flux_id": str(flux_id), **await doing}
    except RequestRefusedError as error:
        refused = error
    except NotYoursError as error:
        refused = _refused("not-yours", str(error))
    except UnsignableError as error:
        refused = _refused("unsignable", str(error))
    except UnavailableError as error:
        refused = RequestRefusedError(
            Why.AWAY,
            "unavailable",
            "Momentanément impossible",
            "La plateforme ne peut pas traiter ce flux pour l’instant ; rien n’est enregistré pour lui. Recommencez.",
            extra={"party": error.party},
        )
    except (DocumentMissingError, CorruptDocumentError) as error:
        logger.error("document.lost", extra={"reason": str(error)})  # noqa: TRY400  # the others go on; told below
        refused = RequestRefusedError(
            Why.BROKEN,
            "document-lost",
            "Fichier perdu",
            "Le fichier de ce flux n’est plus dans le stockage, ou n’y est plus intact. Prévenez votre hébergeur.",
        )
    except VersionConflictError:
        refused = _refused("conflict", "Le flux change d’état en ce moment même. Relisez-le, puis recommencez.")
    return {"flux_id": str(flux_id), "status": "refused", "problem": problem_members(refused)}


def _refused(slug: str, detail: str) -> RequestRefusedError:
    return RequestRefusedError(Why.AS_THINGS_STAND, slug, "Rien n’est fait", detail)


def _not_holding(findings: Sequence[Finding]) -> RequestRefusedError:
    detail = findings[0].message if findings else "La signature rendue n’est pas celle qui a été préparée."
    return RequestRefusedError(
        Why.AS_THINGS_STAND,
        findings[0].code if findings else "signature.value",
        "La signature n’est pas valable",
        detail,
        extra={"findings": [finding.model_dump(mode="json") for finding in findings]},
    )


def _state(flux: Flux) -> Item:
    return {"state": flux.state, "on_screen": flux.on_screen}


def _element(prepared: Prepared) -> Item:
    return {"element_id": prepared.element_id, "to_sign": prepared.to_sign_base64, "digest": prepared.digest}


def _bordereaux(flux: Flux, *, only_left: bool = False) -> list[Item]:
    """Return the bordereaux of a flux, or those that the next step signs (all, when it signs the whole flux)."""
    held = flux.validated.bordereaux if flux.validated else ()
    left = set(flux.left_to_sign)
    if only_left and any(one.element_id in left for one in held):
        held = tuple(one for one in held if one.element_id in left)
    return [one.model_dump(mode="json", exclude={"is_signed", "is_repeated"}) for one in held]


def _waiting(known: VisibleFlux) -> Item:
    flux, step = known.flux, known.flux.step
    return {
        "flux_id": str(known.last.flux_id),
        "collectivite": known.collectivite,
        "filename": known.imported.filename,
        "nomfic": flux.header.nomfic if flux.header else "",
        "since": format_time(known.last.occurred_at),
        "step": flux.steps_done + 1,
        "kind": step.kind if step else "",
        "name": step.name if step else "",
        "bordereaux": _bordereaux(flux, only_left=True),
    }


def _step_shown(number: int, step: CircuitStep, known: VisibleFlux) -> Item:
    taken = [_taken(event) for event in known.past if _is_of_step(event, number, known.past)]
    return {
        "number": number,
        "kind": step.kind,
        "name": step.name,
        "any_of": list(step.any_of),
        "elements": list(step.elements),
        "status": _status(number, known.flux),
        "taken": taken,
    }


def _status(number: int, flux: Flux) -> str:
    if number <= flux.steps_done:
        return "done"
    if number > flux.steps_done + 1:
        return "later"
    return "declined" if flux.state is State.SIGNATURE_REFUSED else "next"


def _is_of_step(event: Event, number: int, past: Sequence[Event]) -> bool:
    begun = max((one.version for one in past if isinstance(one.data, SignatureRequested)), default=0)
    return isinstance(event.data, StepTaken) and event.data.step == number and event.version > begun


def _taken(event: Event) -> Item:
    fact = event.data
    return {
        "by": event.actor,
        "on_behalf_of": getattr(fact, "on_behalf_of", ""),
        "at": format_time(event.occurred_at),
        "comment": fact.comment if isinstance(fact, VisaGiven) else "",
        "reason": fact.reason if isinstance(fact, SignatureRefused) else "",
    }

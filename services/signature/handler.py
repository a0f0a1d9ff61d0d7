"""What `signature` does when it hears of a fact: asks for signatures, seals, verifies what is about to be sent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.signature.circuits import Step, choose, kind_of_flux
from services.signature.decide import conclude, recorded, rejected, request, unsignable
from services.signature.examination import Examiner
from services.signature.ports import Documents, Registries, Seal
from shared.errors import UnavailableError
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.flux import BordereauxSigned
from shared.facts.lifecycles.flux import Flux, State, fold
from shared.journal.history import History
from signing.outline import UnsignableError, targets

ACTOR = "signature"
BY_WHOEVER_MAY = (Step("signature"),)
BY_THE_SEAL = (Step("seal"),)


@dataclass(frozen=True)
class Signing:
    """Everything that it takes to have a flux signed."""

    history: History
    documents: Documents
    registries: Registries
    examiner: Examiner
    seal: Seal | None
    now: Callable[[], datetime]

    async def seal_of(self, collectivite: str) -> Seal | None:
        """Return the seal, if there is one and the collectivité chose it."""
        choice = await self.registries.seal_choice(collectivite)
        return self.seal if choice is not None and choice.has_seal else None


async def on_validated(event: Event, _: Fact, *, signing: Signing) -> None:
    """Have a valid flux signed where it must be, or verify that it is; also when its circuit begins again."""
    past = await signing.history.load(event.flux_id)
    flux = fold(fact.data for fact in past)
    if flux.state is not State.DRAFT or flux.validated is None or not flux.validated.signature_required:
        return  # a redelivery, or nothing to sign
    await _record(event, flux, await _begin(flux, past[0], signing), signing)


async def on_step_taken(event: Event, _: Fact, *, signing: Signing) -> None:
    """Go on with a circuit once a person has taken a step of it: the seal's turn may have come, or the end."""
    past = await signing.history.load(event.flux_id)
    flux = fold(fact.data for fact in past)
    if flux.state is not State.TO_SIGN:
        return
    await _record(event, flux, await _go_on(flux, past[0], signing), signing)


async def _record(event: Event, flux: Flux, facts: list[Fact], signing: Signing) -> None:
    events = [event.follow(fact, actor=ACTOR, at=signing.now()) for fact in facts]
    if events:
        await signing.history.append(events, expected_version=flux.version)


async def _begin(flux: Flux, imported: Event, signing: Signing) -> list[Fact]:
    """Look at a flux as it was imported: ask for what is missing, or conclude if nothing is."""
    document = await _document(flux, signing)
    try:
        found = await asyncio.to_thread(targets, document)
    except UnsignableError as error:
        return [unsignable(str(error))]
    if any(target.is_signed for target in found):
        report = await signing.examiner.examine(document)
        wrong = [finding for one in report.signatures for finding in one.findings if finding.severity == "blocking"]
        if wrong:
            return [rejected(wrong)]
    requested = request(found, await _steps(flux, imported.collectivite, signing))
    if not requested.circuit:  # it came signed, and nobody has to approve it
        return await _conclude(flux, imported, signing)
    return [requested, *await _go_on(flux.evolve(requested), imported, signing)]


async def _steps(flux: Flux, collectivite: str, signing: Signing) -> tuple[Step, ...]:
    """Return the circuit that applies: as set, or else the seal for whoever chose it, or else whoever may sign."""
    bordereaux = flux.validated.bordereaux if flux.validated else ()
    kind = kind_of_flux(bordereau.domain for bordereau in bordereaux)
    circuit = choose(await signing.registries.circuits(collectivite), kind)
    if circuit is not None:
        return circuit.steps
    return BY_THE_SEAL if await signing.seal_of(collectivite) else BY_WHOEVER_MAY


async def _go_on(flux: Flux, imported: Event, signing: Signing) -> list[Fact]:
    """Take the steps that the platform takes by itself, as far as they go."""
    facts: list[Fact] = []
    while flux.step is not None and flux.step.kind == "seal":
        seal = await signing.seal_of(imported.collectivite)
        if seal is None:
            return facts  # taken away since: the flux waits; the circuit can be begun again
        sealed = await _sealed(flux, seal, signing)
        facts.append(sealed)
        if not isinstance(sealed, BordereauxSigned):
            return facts
        flux = flux.evolve(sealed)
    if flux.step is None:
        facts += await _conclude(flux, imported, signing)
    return facts


async def _sealed(flux: Flux, seal: Seal, signing: Signing) -> Fact:
    """Sign with the seal what the step covers; what it made is verified as anybody's.

    Raises:
        UnavailableError: its certificate is not one to sign with (any more): the host's fault, not the flux's.
    """
    faults = await signing.examiner.judge_certificate(seal.certificate, signing.now())
    wrong = [fault for fault in faults if fault.severity == "blocking"]
    if wrong:
        raise UnavailableError("seal", wrong[0].message)
    document, wanted = await _document(flux, signing), set(flux.left_to_sign)
    try:
        chosen = [one for one in await asyncio.to_thread(targets, document) if one.element_id in wanted]
        signed = await asyncio.to_thread(seal.sign, document, chosen, signing.now())
    except UnsignableError as error:
        return unsignable(str(error))
    report = await signing.examiner.examine(signed)
    made = [one for one in report.signatures if one.element_id in wanted]
    wrong = [finding for one in made for finding in one.findings if finding.severity == "blocking"]
    if wrong:
        return rejected(wrong)
    return BordereauxSigned(
        step=flux.steps_done + 1,
        document=await signing.documents.put_bytes(signed),
        signatures=tuple(recorded(one, None) for one in made),
    )


async def _conclude(flux: Flux, imported: Event, signing: Signing) -> list[Fact]:
    """Verify the document that would be sent, with both programs, and say what it comes to."""
    if flux.document is None:
        raise ValueError("a flux that was imported has a document")
    report = await signing.examiner.examine_to_send(await _document(flux, signing))
    mandates = await signing.registries.mandates(imported.collectivite)
    return conclude(flux, flux.document, report, mandates, received_at=imported.occurred_at)


async def _document(flux: Flux, signing: Signing) -> bytes:
    if flux.document is None:
        raise ValueError("a flux that was imported has a document")
    return await signing.documents.read(flux.document.sha256)

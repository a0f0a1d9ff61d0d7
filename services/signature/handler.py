"""What `signature` does when it hears of a fact."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from services.signature.decide import Outcome, Refused, Signed, ToSign, decide
from services.signature.outline import UnsignableError, targets
from services.signature.ports import Documents, Seal
from services.signature.verification import SignatureInvalidError, VerifiedSignature, verify
from shared.envelope import Event
from shared.events import Document, FluxSigned, FluxValidated, Signature
from shared.history import History
from shared.lifecycle import fold

ACTOR = "signature"
SIGNER_CHARACTERS_MAX = 500  # a certificate may hold any name; a fact stays small


async def on_validated(
    event: Event,
    validated: FluxValidated,
    *,
    history: History,
    documents: Documents,
    seal: Seal | None,
    now: Callable[[], datetime],
) -> None:
    """Have a valid flux signed where it must be; verify what is signed already."""
    past = await history.load(event.flux_id)
    flux = fold(fact.data for fact in past)
    if not validated.signature_required or flux.document is None or not flux.awaits(FluxSigned):
        return
    outcome = await _outcome(flux.document, documents, seal, now())
    facts = [event.follow(fact, actor=ACTOR, at=now()) for fact in decide(flux, outcome)]
    if facts:
        await history.append(facts, expected_version=flux.version)


async def _outcome(imported: Document, documents: Documents, seal: Seal | None, at: datetime) -> Outcome:
    """Sign what is missing, if there is a seal for it, and verify everything that will be sent."""
    document = await documents.read(imported.sha256)
    try:
        found = await asyncio.to_thread(targets, document)
        missing = [target.element_id for target in found if not target.is_signed]
        if missing and seal is None:
            return ToSign(missing)
        signed = await asyncio.to_thread(seal.sign, document, at) if missing and seal else document
        verified = await asyncio.to_thread(verify, signed)
    except UnsignableError as error:
        return Refused("signature.unsignable", "", str(error))
    except SignatureInvalidError as error:
        return Refused("signature.invalid", error.element_id, str(error))
    stored = await documents.put_bytes(signed) if missing else imported
    return Signed(stored, [_recorded(one) for one in verified], missing)


def _recorded(verified: VerifiedSignature) -> Signature:
    return Signature(
        element_id=verified.element_id,
        signer=verified.signer[:SIGNER_CHARACTERS_MAX],
        certificate_serial=str(verified.certificate_serial),
        signed_at=verified.signing_time,
    )

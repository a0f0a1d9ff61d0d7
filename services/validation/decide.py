"""Turns what was read in a file into the facts to record."""

from services.validation.rules import Reading
from shared.events import Fact, FluxInvalidated, FluxValidated
from shared.lifecycle import Flux


def decide(flux: Flux, reading: Reading) -> list[Fact]:
    """Turn the reading of one imported file into the facts to record."""
    if not flux.awaits(FluxValidated):
        return []  # a redelivery: it has been judged already, or cancelled meanwhile
    blocking = tuple(finding for finding in reading.findings if finding.severity == "blocking")
    if blocking or reading.header is None:
        return [FluxInvalidated(findings=reading.findings, header=reading.header)]
    return [
        FluxValidated(
            header=reading.header,
            bordereaux=reading.bordereaux,
            attachments=reading.attachments,
            signature_required=reading.signature_required,
            warnings=reading.findings,
        )
    ]

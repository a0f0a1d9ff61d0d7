"""Decides what is recorded once the signatures of a flux have been made, found, or found wanting."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events import (
    Document,
    Fact,
    Finding,
    FluxSigned,
    Signature,
    SignatureRequested,
    SignaturesRejected,
    Where,
)
from shared.lifecycle import Flux

REASON_CHARACTERS_MAX = 1000  # a reason may quote the document; a fact stays small


@dataclass(frozen=True)
class Signed:
    """Every signature is there and holds; `requested` are the elements that had to be signed here."""

    document: Document
    signatures: Sequence[Signature]
    requested: Sequence[str] = ()


@dataclass(frozen=True)
class ToSign:
    """Signatures are missing, and nobody here may make them."""

    elements: Sequence[str]


@dataclass(frozen=True)
class Refused:
    """The flux cannot be signed as it is, or a signature in it does not hold; `reason` is French."""

    code: str
    element_id: str
    reason: str


Outcome = Signed | ToSign | Refused


def decide(flux: Flux, outcome: Outcome) -> list[Fact]:
    """Turn what became of the signatures into the facts to record."""
    if not flux.awaits(FluxSigned):
        return []  # a redelivery: it is signed already, or was cancelled meanwhile
    match outcome:
        case Refused():
            return [SignaturesRejected(findings=(_finding(outcome),))]
        case ToSign(elements):
            return _requested(flux, elements)
        case Signed(document, signatures, requested):
            return [
                *_requested(flux, requested),
                FluxSigned(document=document, signatures=tuple(signatures)),
            ]


def _requested(flux: Flux, elements: Sequence[str]) -> list[Fact]:
    if not elements or SignatureRequested in flux.past:
        return []
    return [SignatureRequested(elements=tuple(elements))]


def _finding(refused: Refused) -> Finding:
    return Finding(
        source="control",
        code=refused.code,
        severity="blocking",
        message=refused.reason[:REASON_CHARACTERS_MAX],
        where=Where(element="Bordereau" if refused.element_id else "", bordereau=refused.element_id),
        who="éditeur",
        next="Corrigez le flux à sa source, exportez-le de nouveau, puis importez-le : rien n'a été transmis.",
    )

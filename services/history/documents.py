"""Which documents a flux has: what was imported, what was signed, what left, what DGFiP answered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

from shared.facts import flux as facts
from shared.facts.envelope import Event, format_time
from shared.facts.values import Document


class DocumentRole(StrEnum):
    """What a document is to its flux; `on_screen` is French."""

    IMPORTED = "imported"
    SIGNED = "signed"
    TRANSMITTED = "transmitted"
    REPLY = "reply"

    @property
    def on_screen(self) -> str:
        """The role in the words of the screens."""
        return _ON_SCREEN[self]


_ON_SCREEN = {
    DocumentRole.IMPORTED: "Fichier importé",
    DocumentRole.SIGNED: "Fichier signé",
    DocumentRole.TRANSMITTED: "Fichier transmis",
    DocumentRole.REPLY: "Réponse de la DGFiP (PES_ACQUIT)",
}


@dataclass(frozen=True)
class Kept:
    """A document of a flux, under the name it had, since the fact that named it first in this role.

    `is_in_force`: it is the one in this role. Not so: a file that is signed in part, or was before its circuit was
    restarted; an answer that came second.
    """

    role: DocumentRole
    document: Document
    name: str
    since: datetime
    is_in_force: bool = False

    def shown(self) -> dict[str, object]:
        """Return it as the API answers it."""
        return {
            "role": self.role,
            "on_screen": self.role.on_screen,
            "name": self.name,
            "sha256": self.document.sha256,
            "size": self.document.size,
            "since": format_time(self.since),
            "is_in_force": self.is_in_force,
        }


def documents_of(past: Sequence[Event]) -> list[Kept]:
    """Return the documents that the facts of a flux name, in order: each once in each role."""
    found: dict[tuple[DocumentRole, str], Kept] = {}
    for one in _named(past):
        found.setdefault((one.role, one.document.sha256), one)
    in_force = _in_force(past)
    return [replace(one, is_in_force=in_force.get(role) == sha256) for (role, sha256), one in found.items()]


def chosen(kept: Sequence[Kept], which: str) -> Kept | None:
    """Return the document that a caller names: by its digest, or the one that is in force in a role."""
    return next(
        (one for one in reversed(kept) if which == one.document.sha256 or (one.is_in_force and which == one.role)),
        None,
    )


def _in_force(past: Sequence[Event]) -> dict[DocumentRole, str]:
    """Return the digest of the document that stands in each role."""
    standing: dict[DocumentRole, str] = {}
    for event in past:
        match event.data:
            case facts.FluxImported(document=document):
                standing[DocumentRole.IMPORTED] = document.sha256
            case facts.FluxSigned(document=document):
                standing[DocumentRole.SIGNED] = document.sha256
            case facts.SignatureRestarted() | facts.SignaturesRejected():
                standing.pop(DocumentRole.SIGNED, None)
            case facts.FluxTransmitted(document=document):
                standing[DocumentRole.TRANSMITTED] = document.sha256
            case facts.FluxAcknowledged() | facts.FluxPartiallyRejected() | facts.FluxRejected() as settled:
                standing[DocumentRole.REPLY] = settled.reply.sha256
            case _:
                pass
    return standing


def _named(past: Sequence[Event]) -> Iterator[Kept]:
    name = ""
    for event in past:
        match event.data:
            case facts.FluxImported(document=document, filename=name):
                yield Kept(DocumentRole.IMPORTED, document, name, event.occurred_at)
            case facts.BordereauxSigned(document=document) | facts.FluxSigned(document=document):
                yield Kept(DocumentRole.SIGNED, document, name, event.occurred_at)
            case facts.FluxTransmitted(document=document, remote_name=remote_name):
                sent_as = PurePosixPath(remote_name).name
                yield Kept(DocumentRole.TRANSMITTED, document, sent_as, event.occurred_at)
            case facts.ReplyReceived(document=document, remote_name=remote_name):
                yield Kept(DocumentRole.REPLY, document, remote_name, event.occurred_at)
            case facts.FluxAcknowledged() | facts.FluxPartiallyRejected() | facts.FluxRejected() as settled:
                # A reply that a person linked: its own facts are in its stream, where its name is.
                yield Kept(DocumentRole.REPLY, settled.reply, f"{settled.reply.sha256}.xml", event.occurred_at)
            case _:
                pass

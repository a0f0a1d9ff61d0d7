"""Decides what an import or a cancellation records, and when it is refused."""

from typing import Literal, get_args
from uuid import UUID

from shared.errors import RequestRefusedError, Why
from shared.facts.fact import Fact
from shared.facts.flux import FluxCancelled
from shared.facts.lifecycles.flux import Flux
from shared.facts.values import Document

SendChoice = Literal["when_ready", "on_request"]
SEND_CHOICES: tuple[SendChoice, ...] = get_args(SendChoice)


def chosen(send: str) -> SendChoice:
    """Return when a flux is to be sent.

    Raises:
        RequestRefusedError: there is no such choice.
    """
    for choice in SEND_CHOICES:
        if send == choice:
            return choice
    raise RequestRefusedError(
        Why.BADLY_FORMED,
        "send-invalid",
        "Choix d’envoi inconnu",
        f"Le paramètre send vaut {send[:40]!r} ; il peut valoir {' ou '.join(SEND_CHOICES)}.",
    )


def check_replay(flux_id: UUID, flux: Flux, document: Document) -> None:
    """Return if a repeated Idempotency-Key comes with the same file as the first time: it is done already.

    Raises:
        RequestRefusedError: the key was used for another file; or its flux was cancelled since, and will never leave.
    """
    if flux.imported is None or flux.imported.document.sha256 != document.sha256:
        raise RequestRefusedError(
            Why.UNUSABLE,
            "idempotency-key-reused",
            "Clé d’idempotence déjà employée",
            "Cette valeur d’Idempotency-Key a déjà servi pour un autre fichier. Employez une nouvelle valeur "
            "pour chaque import différent.",
        )
    if FluxCancelled in flux.past:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "idempotency-key-of-cancelled",
            "Clé d’un flux annulé",
            f"Cette valeur d’Idempotency-Key est celle du flux {flux_id}, qui a été annulé et ne partira pas. Pour "
            "importer de nouveau ce fichier, employez une nouvelle valeur.",
            extra={"flux_id": str(flux_id)},
        )


class DuplicateError(RequestRefusedError):
    """This collectivité has already imported the same file. Answer with that flux.

    Attributes:
        first: the flux that it made.
    """

    def __init__(self, first: UUID) -> None:
        super().__init__(
            Why.AS_THINGS_STAND,
            "duplicate",
            "Fichier déjà importé",
            f"Ce fichier a déjà été importé : c’est le flux {first}. Rien n’a été ajouté. "
            "Consultez ce flux ; s’il a été importé par erreur, annulez-le avant d’importer de nouveau.",
            extra={"flux_id": str(first)},
        )
        self.first = first


def cancel(flux: Flux, reason: str) -> list[Fact]:
    """Return the facts that withdraw a flux.

    Raises:
        RequestRefusedError: the flux has left, or a byte of it may have.
    """
    if FluxCancelled in flux.past:
        return []  # asked twice
    if not flux.may_be_cancelled:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "too-late",
            "Annulation impossible",
            f"Le flux est dans l’état « {flux.on_screen} » : son envoi a commencé, il ne peut plus être annulé. Une "
            "correction passe par un nouveau flux.",
        )
    return [FluxCancelled(reason=reason)]

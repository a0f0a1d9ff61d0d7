"""The options that several commands share, and what each reads from the environment when it is not given."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli.errors import CommandRefusedError, UsageProblemError
from local.folder import DataFolder, choose_folder
from local.programs import BusKind
from pes.text import PARIS
from shared.facts.values import REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN

DEFAULT_BUS: BusKind = "postgres"

REASON_BOUNDS = f"en {REASON_CHARACTERS_MIN} à {REASON_CHARACTERS_MAX} caractères"

AsJson = Annotated[bool, typer.Option("--json", help="Écrit un document JSON sur la sortie standard.")]
FluxId = Annotated[str, typer.Argument(metavar="ID", help="Identifiant du flux.")]
Reason = Annotated[str, typer.Option("--reason", metavar="MOTIF", help=f"Pourquoi, {REASON_BOUNDS}.")]
BusOption = Annotated[
    BusKind | None,
    typer.Option("--bus", metavar="BUS", help="Bus des faits : postgres (intégré, par défaut) ou kafka."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DOSSIER", help="Dossier de données (sinon HELIOTROPE_DATA, sinon .heliotrope)."),
]


def ids_of(given: Iterable[str]) -> list[str]:
    """Return identifiers of flux, each once.

    Raises:
        UsageProblemError: one is no identifier.
    """
    for one in given:
        try:
            UUID(one)
        except ValueError as error:
            raise UsageProblemError(
                "Identifiant illisible", f"« {one} » n’est pas l’identifiant d’un flux : copiez-le d’un seul tenant."
            ) from error
    return list(dict.fromkeys(given))


def checked_reason(reason: str) -> str:
    """Return a reason that the platform will take.

    Raises:
        UsageProblemError: it is too short, or too long.
    """
    if not REASON_CHARACTERS_MIN <= len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise UsageProblemError("Motif à préciser", f"Dites pourquoi, {REASON_BOUNDS} (--reason).")
    return reason


def environ() -> Mapping[str, str]:
    """Return our environment; commands pass it on, nothing else reads it."""
    return os.environ


def folder_of(asked: Path | None) -> DataFolder:
    """Return the data folder that a command is about, made if it is missing.

    Raises:
        CommandRefusedError: it cannot be used.
    """
    folder = choose_folder(asked, environ())
    folder.make()
    return folder


def moment_of(text: str) -> datetime:
    """Read a moment as people and programs write it; without a zone, it is the time of the screens (Paris).

    Raises:
        UsageProblemError: it is no ISO 8601 date and time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageProblemError(
            "Instant illisible", f"« {text} » : écrivez par exemple 2026-03-31T14:05 ou 2026-03-31T12:05:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=PARIS)


def check_bus(asked: BusKind | None, runs_on: str) -> None:
    """Refuse a platform that runs on another bus than the one that was asked for."""
    if asked is not None and asked != runs_on:
        raise CommandRefusedError(
            "La plateforme tourne sur un autre bus",
            f"Elle tourne sur {runs_on}, et {asked} est demandé. Arrêtez-la d’abord : `make down`.",
        )

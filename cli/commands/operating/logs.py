"""The command that follows one flux through the technical logs of all services."""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, cast

import typer

from cli.errors import CommandRefusedError, UsageProblemError
from cli.options import AsJson, DataOption, environ, ids_of
from cli.showing.lines import Told, is_reading, table_of, told_of
from cli.showing.output import emit_line, reason_of, reporting, say, show
from local.folder import choose_folder

STANDARD_INPUT = Path("-")
MEMORY_BYTES_MAX = 1 << 20  # of the standard input, which is kept in a temporary file beyond
ROTATED = "*.log*"  # supervisord's own: ingest.log, then ingest.log.1


def logs(
    flux: Annotated[str, typer.Argument(metavar="FLUX", help="Identifiant du flux.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FICHIER…]",
            help="Journaux à lire, - pour l’entrée standard ; sinon ceux de la plateforme de cette machine.",
        ),
    ] = None,
    *,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Suit un flux dans les journaux techniques de tous les services, dans l’ordre du temps."""
    with reporting(as_json=as_json):
        [flux_id] = ids_of([flux.lower()])
        told = _told(flux_id, files or _local(choose_folder(data, environ()).logs))
        if told.unreadable:
            say(f"Lignes qui nomment ce flux sans être du journal d’un service, ignorées : {told.unreadable}.")
        if not told.lines:
            raise CommandRefusedError(
                "Aucune ligne sur ce flux",
                f"Rien ne nomme {flux_id} dans ces journaux : vérifiez l’identifiant (heliotrope flux list), et "
                "qu’ils remontent jusqu’à son import ; les plus anciens ont pu être effacés.",
            )
        if as_json:
            for line in told.lines:
                emit_line(line)
        else:
            happened = [line for line in told.lines if not is_reading(line)]
            show(table_of(happened, title=f"Flux {flux_id}"))
            if readings := len(told.lines) - len(happened):
                say(f"Consultations réussies, que seul --json montre : {readings}.")
            if told.correlation_ids:
                say(f"Corrélation : {', '.join(told.correlation_ids)} (sans tirets : l’identifiant de sa trace).")


def _told(flux_id: str, paths: list[Path]) -> Told:
    """Return what these files tell of a flux."""
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageProblemError("Entrée standard donnée deux fois", "Elle ne se lit qu’une fois : ôtez un des -.")
    with ExitStack() as opened:
        try:
            return told_of(flux_id, [opened.enter_context(_open(path)) for path in paths])
        except OSError as error:
            raise CommandRefusedError("Lecture impossible", f"{error.filename} : {reason_of(error)}.") from error


def _open(path: Path) -> IO[bytes]:
    """Open a file that can be read twice, which the standard input cannot by itself."""
    if path != STANDARD_INPUT:
        return path.open("rb")
    kept = cast("IO[bytes]", SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX))  # noqa: SIM115  # the caller closes it
    shutil.copyfileobj(sys.stdin.buffer, kept)
    return kept


def _local(folder: Path) -> list[Path]:
    """Return the logs of the platform of this machine."""
    files = sorted(folder.glob(ROTATED)) if folder.is_dir() else []
    if not any(file.stat().st_size for file in files):
        raise CommandRefusedError(
            "Aucun journal technique",
            f"Rien dans {folder} : lancez la plateforme (`make up`), désignez son dossier (--data), ou donnez des "
            "journaux : docker compose logs --no-log-prefix | heliotrope logs FLUX -",
        )
    return files

"""Shows one flux from end to end on the local platform: what happened, who did it, when, how long it took."""

import re
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from cli.api import Api
from cli.client_config import read_client_config
from cli.collectivite import choose_collectivite
from cli.errors import CommandRefusedError, ExitCode
from cli.identities import register, unregistered, written
from cli.showing.findings import show_findings, show_rejections
from cli.showing.output import console, emit, say, show
from cli.showing.timeline import members_of, steps_of, table_of
from cli.uploads import Upload, UploadBars, send_file
from cli.waiting import wait_for
from local.folder import DATA_VARIABLE, DataFolder
from pes.sample import SampleSpec, write_sample
from shared.facts.lifecycles.flux import State

END_SECONDS_MAX = 60.0
REASON = "Démonstration de ce fichier (heliotrope demo)"
_SAMPLE_NAME = re.compile(r"^exemple-(\d{5})\.xml$")
_SAMPLES_MAX = 99_999


def check_readable(file: Path) -> None:
    """Refuse a file that is not there before anything is started for it.

    Raises:
        CommandRefusedError: it cannot be read.
    """
    try:
        file.open("rb").close()
    except OSError as error:
        raise CommandRefusedError("Fichier illisible", f"{file} : {error.strerror or error}.") from error


def play(folder: DataFolder, file: Path | None, environ: Mapping[str, str], *, as_json: bool) -> ExitCode:
    """Import a PES, follow it to its end, and show its timeline.

    Returns:
        `DONE` if it ended acknowledged, `REFUSED` otherwise.

    Raises:
        CommandError: it could not be imported, or the platform does not answer.
    """
    path = file or _next_sample(folder)
    config = read_client_config({**environ, DATA_VARIABLE: str(folder.root)})
    collectivite = choose_collectivite(path, asked="", environ=environ, default=config.collectivite)
    with Api(config) as api:
        _introduce(api, path, collectivite)
        flux_id = _import(api, path, collectivite)
        waited = wait_for(api, flux_id, None, END_SECONDS_MAX)
        flux = api.read(f"/v1/flux/{flux_id}")
        events = members_of(api.read(f"/v1/flux/{flux_id}/events"))
    is_acknowledged = State.ACKNOWLEDGED in waited.path.states
    if as_json:
        emit({**flux, "events": events})
    else:
        _show(flux, events, is_acknowledged=is_acknowledged)
    return ExitCode.DONE if is_acknowledged else ExitCode.REFUSED


def _introduce(api: Api, path: Path, collectivite: str) -> None:
    """Register what the file names its collectivité by: whoever runs this command answers for it, and is told."""
    if collectivite and (missing := unregistered(api, collectivite, path)):
        say(f"La démonstration enregistre, pour la collectivité {collectivite} : {written(missing)}.")
        register(api, collectivite, REASON, missing)


def _import(api: Api, path: Path, collectivite: str) -> str:
    """Import the file, or find the flux that it was imported as before."""
    with UploadBars() as bars:
        try:
            answer = send_file(api, Upload(path, collectivite, key=uuid4().hex), bars.follow(path))
        except CommandRefusedError as refused:
            first = refused.document.get("flux_id") if refused.document.get("status") == 409 else None
            if not first:
                raise
            say("Ce fichier a déjà été importé pour cette collectivité : voici ce qu’il est devenu.")
            return str(first)
    return str(answer["flux_id"])


def _next_sample(folder: DataFolder) -> Path:
    """Make a PES that was never sent from this folder: DGFiP refuses one that it has seen."""
    made = [int(found[1]) for path in folder.samples.iterdir() if (found := _SAMPLE_NAME.match(path.name))]
    number = max(made, default=0) + 1
    if number > _SAMPLES_MAX:
        raise CommandRefusedError("Plus d’exemple disponible", f"Videz {folder.samples}, puis recommencez.")
    path = folder.samples / f"exemple-{number:05}.xml"
    write_sample(path, SampleSpec(number=number))
    return path


def _show(flux: Mapping[str, object], events: list[Mapping[str, object]], *, is_acknowledged: bool) -> None:
    show(table_of(steps_of(events), title=f"Flux {flux['flux_id']}"))
    show(f"État : {flux.get('on_screen') or flux.get('state')}")
    if not is_acknowledged:
        show_findings(console(), flux.get("findings"))
        show_rejections(console(), flux.get("errors"))

"""Commands about the simulated Hélios of the local platform: how it answers next, and what it received."""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.options import AsJson, environ
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, emit_or_say, reporting, say, show
from cli.showing.timeline import members_of, time_of
from local.ports import Ports, base_of
from shared import wording

SIMULATOR: Final = "simulator"
simulator = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="L’Hélios simulé de la plateforme locale.")


class Scenario(StrEnum):
    """How the simulated Hélios answers the files to come (`docs/simulateur.md`)."""

    ACK = "ack"
    NACK = "nack"
    PARTIAL = "partial"
    SILENT = "silent"


_MEANINGS: Final = {
    Scenario.ACK: "tout est acquitté, sauf ce qui est mal signé ou illisible",
    Scenario.NACK: "tout est rejeté",
    Scenario.PARTIAL: "un élément est rejeté, le reste acquitté",
    Scenario.SILENT: "rien n’est répondu",
}


@simulator.command("scenario", cls=FrenchCommand)
def scenario(
    wanted: Annotated[Scenario | None, typer.Argument(metavar="SCÉNARIO", help=", ".join(Scenario))] = None,
    delay: Annotated[float, typer.Option(min=0, metavar="SECONDES", help="Le temps qu’il met à répondre.")] = 0.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Montre, ou choisit, comment l’Hélios simulé répond aux prochains fichiers."""
    with reporting(as_json=as_json), _api() as api:
        url = f"{api.url(SIMULATOR)}/v1/scenario"
        if wanted is None:
            answer = api.send(SIMULATOR, lambda client: client.get(url))
        else:
            asked = {"reply": wanted.value, "delay_seconds": delay}
            answer = api.send(SIMULATOR, lambda client: client.put(url, json=asked))
        meaning = _MEANINGS[Scenario(str(answer["reply"]))]
        after = f", après {answer['delay_seconds']} s" if answer.get("delay_seconds") else ""
        emit_or_say(answer, f"Scénario {answer['reply']} : {meaning}{after}.", as_json=as_json)


@simulator.command("receipts", cls=FrenchCommand)
def receipts(
    sha256: Annotated[str, typer.Option(metavar="SHA256", help="Ceux du fichier de cette empreinte.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Liste les fichiers que l’Hélios simulé a reçus, du plus ancien au plus récent."""
    with reporting(as_json=as_json), _api() as api:
        url, params = f"{api.url(SIMULATOR)}/v1/receipts", {"sha256": sha256} if sha256 else {}
        answer = api.send(SIMULATOR, lambda client: client.get(url, params=params))
        if as_json:
            emit(answer)
            return
        rows = members_of(answer, "receipts")
        if not rows:
            say("Aucun fichier reçu.")
            return
        table = Table()
        for column in ("Reçu", "Nom", "Taille", "SHA-256"):
            table.add_column(column, overflow="fold")
        for one in rows:
            size = wording.size(int(str(one["size"])))
            table.add_row(time_of(str(one["received_at"])), str(one["name"]), size, str(one["sha256"]))
        show(table)


def _api() -> Api:
    config = read_client_config(environ())
    return Api(replace(config, urls={**config.urls, SIMULATOR: Ports(base_of(environ())).url(SIMULATOR)}))

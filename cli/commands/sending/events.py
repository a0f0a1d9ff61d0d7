"""The command that tells any stream: of a flux, of a reply, of a collectivité, of the platform."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.options import AsJson, environ
from cli.showing.output import emit, reporting, say, show
from cli.showing.timeline import members_of, steps_of, table_of


def events(
    stream: Annotated[
        str,
        typer.Option(
            "--stream",
            metavar="ADRESSE",
            help="L’identifiant d’un flux ou d’une réponse, ou collectivite:SIREN, ou platform:packs.",
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Raconte un historique : quoi, qui, quand. Avec --json : chaque fait tel qu’il est inscrit."""
    with reporting(as_json=as_json):
        with Api(read_client_config(environ())) as api:
            stream_id, items = _all(api, stream)
        if as_json:
            emit({"stream_id": stream_id, "items": items})
        elif items:
            show(table_of(steps_of(items), title=f"Historique {stream}"))
        else:
            say("Aucun fait.")


def _all(api: Api, stream: str) -> tuple[object, list[Mapping[str, object]]]:
    """Return the id of a stream and every event of it, page after page."""
    path = f"/v1/streams/{quote(stream, safe=':')}/events"
    items: list[Mapping[str, object]] = []
    after: object = 0
    while after is not None:
        answer = api.read(path, {"after": str(after)})
        items += members_of(answer, "items")
        after = answer.get("next")
    return answer["stream_id"], items

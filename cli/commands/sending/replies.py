"""Commands about the replies of DGFiP that belong to no flux: someone links one to its flux, or dismisses it."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.options import AsJson, Reason, environ, ids_of
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, emit_or_say, reporting, say, show
from cli.showing.timeline import members_of, time_of
from pes.text import PARIS
from shared.facts.lifecycles.reply import State

app = typer.Typer(
    cls=FrenchGroup, no_args_is_help=True, help="Les réponses de la DGFiP qui ne correspondent à aucun flux."
)

_NAMES = ", ".join(state.value for state in State)
ReplyId = Annotated[str, typer.Argument(metavar="ID", help="Identifiant de la réponse.")]
_VERDICTS = {"acknowledged": "Acquitté", "partially_rejected": "Acquitté partiellement", "rejected": "Rejeté"}


@app.command("list", cls=FrenchCommand)
def list_replies(
    state: Annotated[State, typer.Option("--state", metavar="ÉTAT", help=f"Un état : {_NAMES}.")] = State.WAITING,
    limit: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="Nombre de réponses.")] = 50,
    before: Annotated[str, typer.Option(metavar="ID", help="La suite : les réponses d’avant celle-ci.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Liste les réponses qui attendent une décision, ou celles d’un autre état ; la plus récente d’abord."""
    with reporting(as_json=as_json):
        params = {"state": state.value, "limit": str(limit)} | ({"before": before} if before else {})
        answer = _read("/v1/replies", params)
        if as_json:
            emit(answer)
            return
        rows = members_of(answer, "replies")
        if not rows:
            say(f"Aucune réponse dans l’état « {state.on_screen} ».")
            return
        show(_table_of(rows))
        if answer.get("next"):
            say(f"La suite : heliotrope replies list --state {state.value} --before {answer['next']}")


@app.command("show", cls=FrenchCommand)
def show_reply(reply_id: ReplyId, *, as_json: AsJson = False) -> None:
    """Montre une réponse : ce qu’elle dit, pourquoi elle n’est d’aucun flux, ce qui en a été décidé."""
    with reporting(as_json=as_json):
        reply = _read(f"/v1/replies/{_id_of(reply_id)}")
        if as_json:
            emit(reply)
        else:
            _show(reply)


@app.command("link", cls=FrenchCommand)
def link_reply(
    reply_id: ReplyId,
    flux: Annotated[str, typer.Option("--flux", metavar="ID", help="Le flux auquel elle répond.")],
    reason: Reason,
    *,
    as_json: AsJson = False,
) -> None:
    """Rattache une réponse au flux auquel elle répond : vous en répondez. Son verdict devient celui du flux."""
    with reporting(as_json=as_json):
        _id_of(flux)
        reply = _ask(f"/v1/replies/{_id_of(reply_id)}/link", {"flux_id": flux, "reason": reason})
        emit_or_say(
            reply, f"Réponse rattachée ; le verdict suit sur le flux : heliotrope flux show {flux}", as_json=as_json
        )


@app.command("dismiss", cls=FrenchCommand)
def dismiss_reply(reply_id: ReplyId, reason: Reason, *, as_json: AsJson = False) -> None:
    """Écarte une réponse qui n’est pour aucun flux de la plateforme. Elle est conservée."""
    with reporting(as_json=as_json):
        reply = _ask(f"/v1/replies/{_id_of(reply_id)}/dismissal", {"reason": reason})
        emit_or_say(reply, "Réponse écartée ; elle est conservée.", as_json=as_json)


def _read(path: str, params: Mapping[str, str] | None = None) -> dict[str, object]:
    with Api(read_client_config(environ())) as api:
        return api.send("ack", lambda client: client.get(api.url("ack") + path, params=params))


def _ask(path: str, body: Mapping[str, str]) -> dict[str, object]:
    with Api(read_client_config(environ())) as api:
        return api.request("ack", path, body)


def _id_of(text: str) -> str:
    return ids_of([text])[0]


def _verdict_of(reply: Mapping[str, object]) -> str:
    return _VERDICTS.get(str(reply.get("verdict")), "aucun verdict")


def _table_of(rows: list[Mapping[str, object]]) -> Table:
    table = Table(caption=f"Heure : {PARIS}", caption_justify="left")
    table.add_column("Réponse", no_wrap=True)
    for column in ("Reçue", "Verdict", "NomFic", "Pourquoi"):
        table.add_column(column, overflow="fold")
    for row in rows:
        why = row.get("decision") or row.get("reason")
        table.add_row(
            str(row["reply_id"]), time_of(str(row["received_at"])), _verdict_of(row), str(row["nomfic"]), str(why)
        )
    return table


def _show(reply: Mapping[str, object]) -> None:
    show(
        f"Réponse {reply['reply_id']} : {reply['on_screen']}",
        f"  Fichier : {reply['remote_name']}",
        f"  SHA-256 : {reply['sha256']}",
        f"  Reçue : {time_of(str(reply['received_at']))} ({PARIS})",
        f"  NomFic : {reply['nomfic']}",
        f"  Verdict : {_verdict_of(reply)}",
        f"  Pourquoi elle n’est d’aucun flux : {reply['reason']}",
    )
    if reply.get("flux_id"):
        show(f"  Flux : {reply['flux_id']}")
    if reply.get("decided_at"):
        show(f"  Décidé par {reply['decided_by']}, le {time_of(str(reply['decided_at']))} : {reply['decision']}")

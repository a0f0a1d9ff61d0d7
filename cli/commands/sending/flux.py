"""Commands about flux: import, list, show, follow, send, cancel."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.collectivite import choose_collectivite
from cli.commands.sending.checks import differ, show_difference, show_index
from cli.errors import CommandError, CommandRefusedError, ExitCode
from cli.identities import unregistered, written
from cli.options import AsJson, FluxId, environ, moment_of
from cli.showing.findings import show_findings, show_problem, show_rejections
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, console, emit, emit_line, emit_or_say, reason_of, reporting, say, show
from cli.showing.timeline import members_of, steps_of, table_of, time_of, unread_kinds
from cli.uploads import Upload, UploadBars, keys_of, send_file
from cli.waiting import Outlook, Waited, wait_for
from pes.text import PARIS
from shared import wording
from shared.facts.lifecycles.flux import State
from shared.facts.streams import BY_KIND

app = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Importe, consulte, suit, envoie et annule des flux.")

_NAMES = ", ".join(state.value for state in State)
StateOption = Annotated[State | None, typer.Option("--state", metavar="ÉTAT", help=f"Un état : {_NAMES}.")]
SeenVersion = Annotated[
    int,
    typer.Option("--seen", metavar="VERSION", min=0, help="La version du flux dont vous décidez, sinon la dernière."),
]
WIDE = 140  # columns that the whole list needs
_CODES = {
    Outlook.REACHED: ExitCode.DONE,
    Outlook.IMPOSSIBLE: ExitCode.ENDED_OTHERWISE,
    Outlook.POSSIBLE: ExitCode.TIME_OVER,
}
_DETAILS = {
    "filename": "Fichier",
    "collectivite": "Collectivité",
    "nomfic": "NomFic",
    "cod_col": "CodCol",
    "cod_bud": "CodBud",
    "remote_name": "Nom à la DGFiP",
    "sha256": "SHA-256",
    "reason": "Motif",
}


@app.command("import", cls=FrenchCommand)
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FICHIER…", help="Fichiers PES à importer.")],
    collectivite: Annotated[
        str,
        typer.Option(metavar="SIREN", help="Collectivité (sinon HELIOTROPE_COLLECTIVITE, sinon celle du fichier)."),
    ] = "",
    *,
    hold: Annotated[bool, typer.Option("--hold", help="N’envoie rien avant `flux send`.")] = False,
    idempotency_key: Annotated[
        str, typer.Option(metavar="CLÉ", help="Le même import, recommencé avec la même clé, n’est fait qu’une fois.")
    ] = "",
    wait_for_end: Annotated[bool, typer.Option("--wait", help="Attend que chaque flux soit acquitté.")] = False,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDES", help="L’attente la plus longue.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Importe un ou plusieurs fichiers. Avec --json : un document par fichier, un par ligne."""
    with reporting(as_json=as_json):
        config = read_client_config(environ())
        refused = 0
        taken: dict[str, Path] = {}
        with Api(config) as api:
            for path, key in zip(files, keys_of(idempotency_key, len(files)), strict=True):
                try:
                    siren = _collectivite_of(path, collectivite, config.collectivite)
                    with UploadBars() as bars:
                        upload = Upload(path, siren, key=key, is_held=hold)
                        answer = send_file(api, upload, bars.follow(path))
                    taken[str(answer["flux_id"])] = path
                    _show_import(path, answer, as_json=as_json)
                    if not as_json:
                        _tell_the_step(api, path, siren, str(answer["flux_id"]))
                except CommandRefusedError as error:
                    refused += 1
                    _show_refusal(path, error, as_json=as_json)
            waited = taken.items() if wait_for_end else ()
            codes = [_waited_for(api, flux_id, path, timeout, as_json=as_json) for flux_id, path in waited]
        if refused:
            raise typer.Exit(ExitCode.REFUSED)
        if any(codes):
            raise typer.Exit(max(codes))


@app.command("list", cls=FrenchCommand)
def list_flux(
    state: StateOption = None,
    collectivite: Annotated[str, typer.Option(metavar="SIREN", help="Une seule collectivité.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="Nombre de flux.")] = 50,
    before: Annotated[str, typer.Option(metavar="ID", help="La suite : les flux d’avant celui-ci.")] = "",
    at: Annotated[
        str, typer.Option(metavar="INSTANT", help="Tels qu’ils étaient à cet instant (ISO 8601 ; sans zone : Paris).")
    ] = "",
    nomfic: Annotated[str, typer.Option(metavar="NOMFIC", help="Ceux de ce NomFic.")] = "",
    sha256: Annotated[str, typer.Option(metavar="SHA256", help="Celui du fichier importé de cette empreinte.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Liste les flux, du plus récent au plus ancien."""
    with reporting(as_json=as_json), _api() as api:
        moment = moment_of(at).isoformat() if at else ""
        sought = {"nomfic": nomfic, "sha256": sha256, "at": moment, "before": before}
        wanted = {"state": state.value if state else "", "collectivite": collectivite, **sought}
        params = {"limit": str(limit)} | {name: value for name, value in wanted.items() if value}
        answer = api.read("/v1/flux", params)
        if as_json:
            emit(answer)
            return
        rows = members_of(answer, "flux")
        if rows:
            show(_list_of(rows))
        else:
            say("Aucun flux.")
        if answer.get("next"):
            options = [
                f"--{name} {shlex.quote(value)}" for name, value in wanted.items() if value and name != "before"
            ]
            say(" ".join(["La suite : heliotrope flux list", *options, f"--before {answer['next']}"]))


@app.command("show", cls=FrenchCommand)
def show_flux(
    flux_id: FluxId,
    at: Annotated[
        str, typer.Option(metavar="INSTANT", help="Tel qu’il était à cet instant (ISO 8601 ; sans zone : Paris).")
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Montre un flux, maintenant ou à un instant passé."""
    with reporting(as_json=as_json):
        params = {"at": moment_of(at).isoformat()} if at else None
        with _api() as api:
            flux = api.read(f"/v1/flux/{flux_id}", params)
        if as_json:
            emit(flux)
        else:
            _show_flux(flux)


@app.command("events", cls=FrenchCommand)
def show_events(flux_id: FluxId, *, as_json: AsJson = False) -> None:
    """Raconte un flux : quoi, qui, quand, en combien de temps."""
    with reporting(as_json=as_json):
        with _api() as api:
            answer = api.read(f"/v1/flux/{flux_id}/events")
        if as_json:
            emit(answer)
        else:
            members = members_of(answer)
            show(table_of(steps_of(members), title=f"Flux {flux_id}"))
            for kind in unread_kinds(members):
                show(_set_aside(wording.set_aside(kind, is_known=kind in BY_KIND)))


@app.command("wait", cls=FrenchCommand)
def wait(
    flux_id: FluxId,
    state: StateOption = None,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDES", help="Attente la plus longue.")] = 60.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Attend qu’un flux soit, ou soit passé, dans un état ; sans --state, qu’il soit acquitté.

    Rend 4 s’il a fini autrement, 5 si le délai est passé.
    """
    with reporting(as_json=as_json):
        with _api() as api:
            waited = wait_for(api, flux_id, state, timeout)
            flux = api.read(f"/v1/flux/{flux_id}")
        is_reached = waited.outlook is Outlook.REACHED
        emit_or_say(
            {**flux, "wanted": state.value if state else None, "reached": is_reached},
            _waited(waited, state, timeout),
            as_json=as_json,
        )
        if code := _CODES[waited.outlook]:
            raise typer.Exit(code)


@app.command("send", cls=FrenchCommand)
def send(
    flux_id: FluxId,
    reason: Annotated[
        str, typer.Option(metavar="MOTIF", help="Pourquoi envoyer de nouveau un flux dont l’envoi est suspendu.")
    ] = "",
    seen: SeenVersion = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Envoie à la DGFiP un flux prêt, ou reprend un envoi suspendu."""
    with reporting(as_json=as_json):
        with _api() as api:
            body = {"reason": reason, "version": _seen(api, flux_id, seen)} if reason else {}
            answer = api.request("gateway", f"/v1/flux/{flux_id}/transmission", body)
        emit_or_say(answer, f"{answer.get('detail', '')} État : {answer.get('on_screen', '')}.", as_json=as_json)


@app.command("cancel", cls=FrenchCommand)
def cancel(
    flux_id: FluxId,
    reason: Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi le flux est annulé.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Annule un flux qui n’est pas encore parti ; le même fichier peut alors être importé de nouveau."""
    with reporting(as_json=as_json):
        with _api() as api:
            answer = api.request("ingest", f"/v1/flux/{flux_id}/cancellation", {"reason": reason})
        emit_or_say(answer, f"Flux {flux_id} annulé.", as_json=as_json)


@app.command("findings", cls=FrenchCommand)
def findings(flux_id: FluxId, *, as_json: AsJson = False) -> None:
    """Montre toutes les anomalies d’un flux, même très nombreuses."""
    with reporting(as_json=as_json):
        answer = _of_validation(f"/v1/flux/{flux_id}/findings")
        if as_json:
            emit(answer)
        else:
            show_findings(console(), answer.get("findings"))


@app.command("synthese", cls=FrenchCommand)
def synthese(
    flux_id: FluxId,
    page: Annotated[int, typer.Option(min=0, metavar="N", help="Page de pièces ; 0 : le sommaire.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Dit ce que contient un flux : le sommaire ou, en JSON, une page de pièces."""
    with reporting(as_json=as_json):
        answer = _of_validation(f"/v1/flux/{flux_id}/synthese", {"page": str(page)})
        if as_json or page:
            emit(answer)
        else:
            show_index(answer)


@app.command("diff", cls=FrenchCommand)
def difference(
    since: Annotated[str, typer.Argument(metavar="ANCIEN", help="Identifiant de la première version.")],
    flux_id: FluxId,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare deux versions d’un flux : pièces ajoutées, retirées, modifiées. Rend 1 si elles diffèrent."""
    with reporting(as_json=as_json):
        answer = _of_validation(f"/v1/flux/{flux_id}/difference", {"since": since})
        if as_json:
            emit(answer)
        else:
            show_difference(answer)
        if differ(answer):
            raise typer.Exit(ExitCode.REFUSED)


@app.command("attachment", cls=FrenchCommand)
def attachment(
    flux_id: FluxId,
    position: Annotated[int, typer.Argument(min=1, metavar="N", help="Numéro de la pièce jointe dans la synthèse.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FICHIER", help="Où l’écrire.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Extrait une pièce jointe d’un flux."""
    with reporting(as_json=as_json), _api() as api:
        content = api.download("validation", f"/v1/flux/{flux_id}/attachments/{position}")
        try:
            output.write_bytes(content)
        except OSError as error:
            raise CommandRefusedError("Écriture impossible", f"{output} : {reason_of(error)}.") from error
        emit_or_say(
            {"file": str(output), "size": len(content)}, f"{output} : {wording.size(len(content))}.", as_json=as_json
        )


@app.command("accept-duplicate", cls=FrenchCommand)
def accept_duplicate(
    flux_id: FluxId,
    reason: Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi l’envoyer de nouveau.")],
    seen: SeenVersion = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Accepte, en disant pourquoi, un flux refusé parce qu’il répète un NomFic ou un bordereau déjà présent."""
    with reporting(as_json=as_json):
        with _api() as api:
            path = f"/v1/flux/{flux_id}/duplicate-acceptance"
            answer = api.request("validation", path, {"reason": reason, "version": _seen(api, flux_id, seen)})
        emit_or_say(answer, f"Doublon accepté. État : {answer.get('on_screen', '')}.", as_json=as_json)


def _seen(api: Api, flux_id: str, said: int) -> int:
    """Return the version of the flux that a reason is about: the one said, or that of now, whose cause is shown."""
    if said:
        return said
    flux = api.read(f"/v1/flux/{flux_id}")
    for name, member in (("held", "cause"), ("problem", "detail")):
        stopped = flux.get(name)
        if isinstance(stopped, Mapping):
            typer.echo(str(stopped.get(member, "")), err=True)
    return int(str(flux.get("version", 0)))


def _of_validation(path: str, params: Mapping[str, str] | None = None) -> dict[str, object]:
    with _api() as api:
        return api.send("validation", lambda client: client.get(api.url("validation") + path, params=params))


def _api() -> Api:
    return Api(read_client_config(environ()))


def _collectivite_of(path: Path, asked: str, default: str) -> str:
    try:
        return choose_collectivite(path, asked=asked, environ=environ(), default=default)
    except OSError as error:
        raise CommandRefusedError("Fichier illisible", f"{path} : {reason_of(error)}.") from error


def _waited_for(api: Api, flux_id: str, path: Path, timeout: float, *, as_json: bool) -> ExitCode:
    """Wait until a flux that was imported is acknowledged, and tell how it ended."""
    waited = wait_for(api, flux_id, None, timeout)
    if as_json:
        emit_line(
            {"file": str(path), "flux_id": flux_id, "state": waited.path.current, "outlook": waited.outlook.value}
        )
    else:
        show(f"{path} : {_waited(waited, None, timeout)}")
    return _CODES[waited.outlook]


def _show_import(path: Path, answer: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        emit_line({"file": str(path), **answer})
    else:
        size = wording.size(int(str(answer["size"])))
        show(f"{path} : importé ({size}), flux {answer['flux_id']}")


def _tell_the_step(api: Api, path: Path, siren: str, flux_id: str) -> None:
    """Say which one step lets a flux through that names what nobody has registered."""
    try:
        missing = unregistered(api, siren, path) if siren else []
    except CommandError:
        return  # its judgement says it as well
    if missing:
        say(f"Pas encore enregistré pour la collectivité {siren} : {written(missing)}.")
        say(f'L’administrateur l’enregistre par : heliotrope collectivites identifiers add {flux_id} --reason "…"')


def _show_refusal(path: Path, error: CommandError, *, as_json: bool) -> None:
    if as_json:
        emit_line({"file": str(path), **error.document})
    say(f"{path} : refusé")
    show_problem(console(stderr=True), error.document)


def _list_of(rows: list[Mapping[str, object]]) -> Table:
    """Return the list; on a narrow screen what tells flux apart, whole: which, in what state, under what name."""
    if console().width < WIDE:
        narrow = Table(box=None, pad_edge=False)
        narrow.add_column("Flux", no_wrap=True)
        for column in ("État", "NomFic"):
            narrow.add_column(column, overflow="fold")
        for row in rows:
            narrow.add_row(str(row["flux_id"]), str(row["on_screen"]), str(row["nomfic"] or row["filename"]))
        return narrow
    table = Table(caption=f"Heure : {PARIS}", caption_justify="left")
    table.add_column("Flux", no_wrap=True)
    table.add_column("État", overflow="fold")
    for column in ("Fichier", "NomFic"):
        table.add_column(column, overflow="fold")
    table.add_column("Collectivité", no_wrap=True)
    table.add_column("Taille", justify="right", no_wrap=True)
    table.add_column("Importé", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["flux_id"]),
            str(row["on_screen"]),
            str(row["filename"]),
            str(row["nomfic"]),
            str(row["collectivite"]),
            wording.size(int(str(row["size"]))),
            time_of(str(row["imported_at"])),
        )
    return table


def _show_flux(flux: Mapping[str, object]) -> None:
    state = str(flux.get("state") or "")
    show(
        f"Flux {flux['flux_id']} : {flux.get('on_screen') or State(state).on_screen}{f' ({state})' if state else ''}"
    )
    if isinstance(set_aside := flux.get("set_aside"), Mapping):
        show(f"  {_set_aside(str(set_aside.get('reason', '')))}")
    for name, label in _DETAILS.items():
        if flux.get(name):
            show(f"  {label} : {flux[name]}")
    if "size" in flux:
        show(f"  Taille : {wording.size(int(str(flux['size'])))}")
    if isinstance(document := flux.get("document"), Mapping) and document.get("sha256") != flux.get("sha256"):
        show(f"  SHA-256 une fois signé : {document.get('sha256')}")
    for name, label in (("imported_at", "Importé"), ("updated_at", "Dernier fait")):
        if flux.get(name):
            show(f"  {label} : {time_of(str(flux[name]))} ({PARIS})")
    show(f"  Version : {flux['version']}")
    if isinstance(pack := flux.get("pack"), Mapping):
        show(f"  Pack de schémas : {pack.get('pack_id')}")
    for line in _signatures(flux):
        show(line)
    if state == State.SIGNATURE_REFUSED:
        show(
            f'  Pour reprendre : heliotrope flux restart {flux["flux_id"]} --reason "…"',
            f'  Pour abandonner : heliotrope flux cancel {flux["flux_id"]} --reason "…"',
        )
    if isinstance(held := flux.get("held"), Mapping):
        again = f'heliotrope flux send {flux["flux_id"]} --reason "…" --seen {flux["version"]}'
        show(f"  Envoi suspendu : {held.get('cause', '')}", f"  Pour reprendre : {again}")
    show_findings(console(), flux.get("findings"))
    show_rejections(console(), flux.get("errors"))


def _set_aside(reason: str) -> str:
    return f"Mis de côté : {reason[:1].lower()}{reason[1:]}"


def _signatures(flux: Mapping[str, object]) -> Iterator[str]:
    """Yield who signed what, when, under which mandate."""
    for one in members_of(flux, "signatures"):
        mandate = one.get("mandate")
        under = f", mandat : {mandate.get('act')} ({mandate.get('name')})" if isinstance(mandate, Mapping) else ""
        element = one.get("element_id") or "le flux entier"
        yield f"  Signé : {element} par {one.get('signer')}, le {time_of(str(one.get('signed_at')))}{under}"


def _waited(waited: Waited, wanted: State | None, timeout_seconds: float) -> str:
    state = waited.path.current
    where = f"{waited.path.on_screen} ({state})" if state else "inconnu"
    match waited.outlook:
        case Outlook.REACHED:
            return f"Le flux est : {where}."
        case Outlook.IMPOSSIBLE:
            return f"Le flux est : {where} ; il ne sera plus : {(wanted or State.ACKNOWLEDGED).on_screen}."
        case Outlook.POSSIBLE:
            return f"Après {timeout_seconds:g} s, le flux est : {where}."

"""Commands for those who run the validation: schema packs on a platform, and how serious each control is."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.commands.sending.checks import schemas
from cli.errors import UsageProblemError
from cli.options import AsJson, Reason, checked_reason, environ
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, emit_or_say, reason_of, reporting, show
from pes.schemas.packs import PackError, PackFiles, read_pack

controls = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les contrôles, et leur gravité par collectivité.")

# In the words of the screens, or of the API.
_SEVERITIES = {
    "bloquant": "blocking",
    "avertissement": "warning",
    "origine": "default",
    "blocking": "blocking",
    "warning": "warning",
    "default": "default",
}
_USES = ("active", "shadow", "inactive")
DAY = "AAAA-MM-JJ"
FromOption = Annotated[str, typer.Option("--from", metavar=DAY, help="En vigueur à partir de ce jour.")]
UntilOption = Annotated[str, typer.Option("--until", metavar=DAY, help="En vigueur jusqu’à ce jour, exclu.")]
UseOption = Annotated[
    str,
    typer.Option(
        "--use", metavar="USAGE", help="active, shadow (à l’essai : ses refus sont des avertissements) ou inactive."
    ),
]


@schemas.command("list", cls=FrenchCommand)
def list_packs(*, as_json: AsJson = False) -> None:
    """Liste les packs de schémas de la plateforme, et leur période."""
    with reporting(as_json=as_json), _api() as api:
        answer = api.send("validation", lambda client: client.get(f"{api.url('validation')}/v1/schemas"))
        if as_json:
            emit(answer)
            return
        table = Table()
        for column in ("Pack", "Usage", "Du", "Au (exclu)", "Installé par", "Empreinte"):
            table.add_column(column, overflow="fold")
        for pack in _members(answer.get("packs")):
            names = ("pack_id", "use", "effective_from", "effective_until", "installed_by", "digest")
            table.add_row(*(str(pack.get(name) or "") for name in names))
        show(table)


@schemas.command("install", cls=FrenchCommand)
def install_pack(
    path: Annotated[Path, typer.Argument(metavar="DOSSIER|ZIP", help="Pack tel que publié par la DGFiP.")],
    reason: Reason,
    pack_id: Annotated[str, typer.Option("--id", metavar="NOM", help="Nom du pack (sinon celui du dossier).")] = "",
    use: UseOption = "active",
    since: FromOption = "",
    until: UntilOption = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Installe un pack de schémas, sans arrêter la plateforme."""
    with reporting(as_json=as_json), _api() as api:
        pack = _read(path, pack_id)
        params = _given({"use": use, "effective_from": since, "effective_until": until, "reason": reason})
        url = f"{api.url('validation')}/v1/schemas/{pack.pack_id}"
        content = pack.archive()
        answer = api.send("validation", lambda client: client.post(url, params=params, content=content))
        emit_or_say(answer, f"Pack {answer.get('pack_id')} installé.", as_json=as_json)


@schemas.command("activate", cls=FrenchCommand)
def activate_pack(
    pack_id: Annotated[str, typer.Argument(metavar="PACK", help="Nom du pack.")],
    reason: Reason,
    use: UseOption = "",
    since: FromOption = "",
    until: UntilOption = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Change l’usage ou la période d’un pack installé."""
    with reporting(as_json=as_json), _api() as api:
        body = _given({"use": use, "effective_from": since, "effective_until": until, "reason": reason})
        url = f"{api.url('validation')}/v1/schemas/{pack_id}"
        answer = api.send("validation", lambda client: client.put(url, json=body))
        emit_or_say(
            answer,
            f"Pack {pack_id} : {answer.get('use')}, à partir du {answer.get('effective_from')}.",
            as_json=as_json,
        )


@controls.command("list", cls=FrenchCommand)
def list_controls(
    collectivite: Annotated[str, typer.Option(metavar="SIREN", help="Telle que vue par cette collectivité.")] = "*",
    *,
    as_json: AsJson = False,
) -> None:
    """Liste les contrôles : code, gravité, ce qui est vérifié, source."""
    with reporting(as_json=as_json), _api() as api:
        url = f"{api.url('validation')}/v1/controls"
        answer = api.send("validation", lambda client: client.get(url, params={"collectivite": collectivite}))
        if as_json:
            emit(answer)
            return
        table = Table()
        for column in ("Contrôle", "Gravité", "Ce qui est vérifié", "Source"):
            table.add_column(column, overflow="fold")
        table.add_row("schema", _severity(answer.get("schema")), "Le flux respecte le schéma du PES v2", "A4")
        for control in _members(answer.get("controls")):
            severity = _severity(control["severity"]) + (" (fixe)" if control["is_fixed"] else "")
            if control["severity"] != control["default"]:
                severity += f" (d’origine : {_severity(control['default'])})"
            table.add_row(str(control["code"]), severity, str(control["checks"]), str(control["source"]))
        show(table)


@controls.command("set", cls=FrenchCommand)
def set_control(
    code: Annotated[str, typer.Argument(metavar="CONTRÔLE", help="Code du contrôle ; schema pour tout le schéma.")],
    severity: Annotated[str, typer.Argument(metavar="GRAVITÉ", help="bloquant, avertissement ou origine.")],
    reason: Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi.")],
    collectivite: Annotated[str, typer.Option(metavar="SIREN", help="Une collectivité ; * pour toutes.")] = "*",
    *,
    as_json: AsJson = False,
) -> None:
    """Change la gravité d’un contrôle, pour une collectivité ou pour toutes."""
    with reporting(as_json=as_json), _api() as api:
        wanted = _SEVERITIES.get(severity.lower())
        if wanted is None:
            raise UsageProblemError("Gravité inconnue", f"« {severity} » : écrivez {', '.join(_SEVERITIES)}.")
        body = {"severity": wanted, "reason": checked_reason(reason), "collectivite": collectivite}
        url = f"{api.url('validation')}/v1/controls/{code}"
        answer = api.send("validation", lambda client: client.put(url, json=body))
        whom = "toutes les collectivités" if collectivite == "*" else collectivite
        emit_or_say(answer, f"{code} : {_severity(wanted)}, pour {whom}.", as_json=as_json)


def _api() -> Api:
    return Api(read_client_config(environ()))


def _read(path: Path, pack_id: str) -> PackFiles:
    try:
        return read_pack(path, pack_id)
    except PackError as error:
        raise UsageProblemError("Ce n’est pas un pack de schémas", f"{path} : {error}") from error
    except OSError as error:
        raise UsageProblemError("Pack de schémas illisible", f"{path} : {reason_of(error)}.") from error


def _given(values: Mapping[str, str]) -> dict[str, str]:
    """Return what is given, having seen that it can be.

    Raises:
        UsageProblemError: a use or a day that is none.
    """
    if values.get("use") and values["use"] not in _USES:
        raise UsageProblemError("Usage inconnu", f"« {values['use']} » : écrivez {', '.join(_USES)}.")
    for name in ("effective_from", "effective_until"):
        try:
            date.fromisoformat(values.get(name) or "2000-01-01")
        except ValueError as error:
            raise UsageProblemError("Jour illisible", f"« {values[name]} » : écrivez {DAY}.") from error
    return {name: value for name, value in values.items() if value}


def _severity(value: object) -> str:
    words = {"blocking": "bloquant", "warning": "avertissement", "default": "gravité d’origine"}
    return words.get(str(value), str(value))


def _members(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

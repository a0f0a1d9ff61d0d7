"""Commands for those who administer a collectivité: what DGFiP knows it by, and the channel that its flux take."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.api import Api
from cli.client_config import COLLECTIVITE_VARIABLE, read_client_config
from cli.errors import CommandRefusedError, UsageProblemError
from cli.identities import READ, SERVICE, register
from cli.options import AsJson, Reason, environ
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, confirmed, emit, emit_or_say, reporting, say, show
from cli.showing.timeline import members_of, time_of
from shared import wording
from shared.facts.collectivite import Budget, Identifier, Siret

app = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Qui est une collectivité, et par où partent ses flux.")
identifiers = typer.Typer(
    cls=FrenchGroup, no_args_is_help=True, help="Ce par quoi la DGFiP connaît une collectivité : SIRET, budgets."
)
app.add_typer(identifiers, name="identifiers")

_BUDGET = re.compile(r"(?P<id_post>[^/]+)/(?P<cod_col>[^/]+)/(?P<cod_bud>[^/]+)")
SirenOption = Annotated[
    str, typer.Option("--collectivite", metavar="SIREN", help="La collectivité (sinon HELIOTROPE_COLLECTIVITE).")
]
SiretOption = Annotated[
    list[str] | None, typer.Option("--siret", metavar="SIRET", help="Un de ses établissements ; se répète.")
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="POSTE/CODCOL/CODBUD", help="Un de ses budgets : 034990/123/00 ; se répète."),
]


@app.command("list", cls=FrenchCommand)
def list_collectivites(*, as_json: AsJson = False) -> None:
    """Liste les collectivités que vous pouvez consulter."""
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, "")
        if as_json:
            emit(answer)
            return
        table = _table("SIREN", "Nom", "Canal", "Ouverte")
        for one in members_of(answer, "collectivites"):
            opened = time_of(str(one["opened_at"]))
            table.add_row(
                str(one["siren"]), str(one["name"]), str(one["channel"] or "celui de la plateforme"), opened
            )
        show(table)


@app.command("show", cls=FrenchCommand)
def show_collectivite(collectivite: SirenOption = "", *, as_json: AsJson = False) -> None:
    """Montre une collectivité : ses identifiants, son canal d’envoi."""
    _show(collectivite, as_json=as_json)


@app.command("channel", cls=FrenchCommand)
def choose_channel(
    channel: Annotated[str, typer.Argument(metavar="CANAL", help="Le canal, par exemple passtrans-sftp.")],
    reason: Reason,
    collectivite: SirenOption = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Choisit le canal par où partent les flux d’une collectivité (hébergeur)."""
    with reporting(as_json=as_json), _api() as api:
        siren = _siren(collectivite)
        url = f"{api.url(SERVICE)}/v1/collectivites/{siren}/channel"
        body = {"channel": channel, "reason": reason}
        answer = api.send(SERVICE, lambda client: client.put(url, json=body))
        chosen = f"Canal de la collectivité {siren} : {answer['channel']}."
        emit_or_say(answer, f"{chosen} Si cette plateforme ne l’a pas, ses flux attendront.", as_json=as_json)


@identifiers.command("list", cls=FrenchCommand)
def list_identifiers(collectivite: SirenOption = "", *, as_json: AsJson = False) -> None:
    """Liste les identifiants d’une collectivité."""
    _show(collectivite, as_json=as_json)


@identifiers.command("add", cls=FrenchCommand)
def add(
    reason: Reason,
    flux_id: Annotated[
        str,
        typer.Argument(
            metavar="FLUX", help="Un flux refusé : ce qu’il nomme est enregistré, et il est contrôlé de nouveau."
        ),
    ] = "",
    siret: SiretOption = None,
    budget: BudgetOption = None,
    collectivite: SirenOption = "",
    *,
    seen: Annotated[
        bool, typer.Option("--seen", help="Ce que nomment les flux déjà acquittés par la DGFiP ; montré d’abord.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Avec --seen : ne demande pas de confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Enregistre ce par quoi la DGFiP connaît une collectivité ; un flux refusé pour cela est contrôlé de nouveau."""
    with reporting(as_json=as_json), _api() as api:
        given = _given(siret, budget)
        if [bool(flux_id), bool(given), seen].count(True) != 1:
            raise UsageProblemError(
                "Identifiants à préciser", "Donnez un flux, ou --siret et --budget, ou --seen : l’un des trois."
            )
        if flux_id:
            siren = str(api.read(f"/v1/flux/{flux_id}")["collectivite"])
            answer = register(api, siren, reason, flux_id=flux_id)
        else:
            siren = _siren(collectivite)
            answer = register(api, siren, reason, _seen(api, siren, is_agreed=yes) if seen else given)
        if as_json:
            emit(answer)
        else:
            _tell(siren, answer)


@identifiers.command("withdraw", cls=FrenchCommand)
def withdraw(
    reason: Reason,
    siret: SiretOption = None,
    budget: BudgetOption = None,
    collectivite: SirenOption = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Retire des identifiants : les prochains flux qui les nomment sont refusés."""
    with reporting(as_json=as_json), _api() as api:
        siren, given = _siren(collectivite), _given(siret, budget)
        if not given:
            raise UsageProblemError("Identifiants à préciser", "Donnez --siret ou --budget.")
        url = f"{api.url(SERVICE)}/v1/collectivites/{siren}/identifiers/withdrawal"
        body = {"identifiers": [one.model_dump() for one in given], "reason": reason}
        answer = api.send(SERVICE, lambda client: client.post(url, json=body))
        if as_json:
            emit(answer)
            return
        count = len(members_of(answer, "recorded"))
        if not count:
            detail = f"La collectivité {siren} n’a pas ces identifiants : voyez `heliotrope collectivites show`."
            raise CommandRefusedError("Rien à retirer", detail)
        say(f"{wording.count(count, 'identifiant retiré', 'identifiants retirés')} de la collectivité {siren}.")


def _show(collectivite: str, *, as_json: bool) -> None:
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, f"/{_siren(collectivite, read_client_config(environ()).collectivite)}")
        if as_json:
            emit(answer)
            return
        show(f"Collectivité {answer['siren']} {answer['name']}".rstrip())
        show(f"  Canal : {answer['channel'] or 'celui de la plateforme'}")
        table = _table("Identifiant", "Enregistré", "Par", "Motif")
        for one in members_of(answer, "identifiers"):
            known_by = wording.identifier(READ.validate_python(one["identifier"]))
            who = wording.who(str(one["registered_by"]))
            table.add_row(known_by, time_of(str(one["registered_at"])), who, str(one["reason"]))
        show(table)


def _seen(api: Api, siren: str, *, is_agreed: bool) -> Sequence[Identifier]:
    """Return what acknowledged flux have named, once a person has seen it and agrees.

    Raises:
        CommandRefusedError: there is nothing, or they do not agree.
    """
    found = members_of(_get(api, f"/{siren}/identifiers/seen"), "seen")
    if not found:
        detail = f"Tout ce que nomment les flux acquittés de la collectivité {siren} est déjà enregistré."
        raise CommandRefusedError("Rien à enregistrer", detail)
    say(f"Les flux de la collectivité {siren} acquittés par la DGFiP ont nommé, sans que ce soit enregistré :")
    named = [READ.validate_python(one["identifier"]) for one in found]
    for one, counted in zip(named, found, strict=True):
        flux = wording.count(int(str(counted["flux"])), "flux", "flux")
        say(f"  {wording.identifier(one)} ({flux}, le dernier le {time_of(str(counted['last_at']))})")
    if not is_agreed and not confirmed("Est-ce bien cette collectivité ? Tout enregistrer ?"):
        raise CommandRefusedError("Rien n’est enregistré", "Enregistrez-les un à un, avec --siret et --budget.")
    return named


def _tell(siren: str, answer: Mapping[str, object]) -> None:
    new = [one for one in members_of(answer, "recorded") if "identifier" in one]
    for one in new:
        known_by = wording.identifier(READ.validate_python(one["identifier"]))
        say(f"Enregistré pour la collectivité {siren} : {known_by}.")
    if not new:
        say(f"Rien de nouveau pour la collectivité {siren} : c’était déjà enregistré.")
    if isinstance(flux := answer.get("flux"), Mapping):
        done = "est contrôlé de nouveau" if flux["is_judged_anew"] else f"est : {flux['on_screen']}"
        hint = "" if flux["is_judged_anew"] or flux["state"] != "invalid" else " ; il a d’autres anomalies"
        say(f"Le flux {flux['flux_id']} {done}{hint}.")
    if isinstance(others := answer.get("others_judged_anew"), list) and others:
        single, several = "flux refusé pour cela seul est contrôlé", "flux refusés pour cela seul sont contrôlés"
        say(f"{wording.count(len(others), single, several)} de nouveau.")


def _given(sirets: Sequence[str] | None, budgets: Sequence[str] | None) -> list[Identifier]:
    """Read identifiers as people write them.

    Raises:
        UsageProblemError: one is not written so.
    """
    given: list[Identifier] = []
    try:
        given += [Siret(siret=one.replace(" ", "")) for one in sirets or ()]
        for one in budgets or ():
            found = _BUDGET.fullmatch(one)
            given.append(Budget.model_validate(found.groupdict() if found else {}))
    except ValidationError as error:
        raise UsageProblemError(
            "Identifiant mal écrit",
            "Écrivez --siret 21349990800019 (14 chiffres) ou --budget 034990/123/00 : poste comptable (6 ou 7 "
            "caractères), CodCol (3 chiffres), CodBud (2 caractères).",
        ) from error
    return given


def _siren(asked: str, default: str = "") -> str:
    """Return the collectivité that a command is about; what changes one never guesses which."""
    siren = asked or environ().get(COLLECTIVITE_VARIABLE, "") or default
    if not siren:
        raise UsageProblemError("Collectivité à préciser", "Donnez --collectivite SIREN.")
    return siren


def _api() -> Api:
    return Api(read_client_config(environ()))


def _get(api: Api, path: str) -> dict[str, object]:
    url = f"{api.url(SERVICE)}/v1/collectivites{path}"
    return api.send(SERVICE, lambda client: client.get(url))


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

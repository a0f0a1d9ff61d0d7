"""Commands for those who run a collectivité's signatures: mandates, circuits, delegations, the seal."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli.api import Api
from cli.client_config import COLLECTIVITE_VARIABLE, read_client_config
from cli.errors import UsageProblemError
from cli.options import AsJson, Reason, checked_reason, environ, moment_of
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, emit_or_say, reason_of, reporting, show
from cli.showing.timeline import time_of
from shared import wording
from shared.facts.envelope import new_id
from shared.facts.streams import EVERY_COLLECTIVITE

mandates = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Qui peut signer pour une collectivité, et quand.")
circuits = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les étapes entre un flux valide et son envoi.")
delegations = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Qui supplée qui, le temps d’une absence.")
seal = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Pour qui signe le cachet de la plateforme.")

SERVICE = "signature"
CERTIFICATE_BYTES_MAX = 15_000
# In the words of the screens, or of the API.
_STEP_KINDS = {"visa": "visa", "signature": "signature", "cachet": "seal", "seal": "seal"}
_DOMAINS = {"": "", "depense": "depense", "dépense": "depense", "recette": "recette"}
_FLUX_KINDS = ("*", "depense", "recette", "mixte")
_STEP = re.compile(r"(?P<kind>[^/:=]+)(?:/(?P<domain>[^:=]*))?(?::(?P<persons>[^=]*))?(?:=(?P<name>.*))?")
MOMENT = "INSTANT"
Siren = Annotated[str, typer.Option("--collectivite", metavar="SIREN", help="La collectivité.")]
SirenOrNone = Annotated[
    str, typer.Option("--collectivite", metavar="SIREN", help="La collectivité (sinon HELIOTROPE_COLLECTIVITE).")
]
SirenOrAll = Annotated[
    str, typer.Option("--collectivite", metavar="SIREN", help="Une collectivité ; * pour toutes (hébergeur).")
]
FluxKind = Annotated[
    str, typer.Option("--kind", metavar="SORTE", help="Pour quels flux : depense, recette, mixte, ou * pour tous.")
]
At = Annotated[str, typer.Option("--at", metavar=MOMENT, help="À partir de quand (sinon tout de suite).")]


@mandates.command("list", cls=FrenchCommand)
def list_mandates(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les mandats de signature d’une collectivité."""

    def row(one: Mapping[str, object]) -> list[str]:
        ends_at = _when(one["ends_at"]) + (f"\n({one['ended_because']})" if one["ended_because"] else "")
        certificate = f"{str(one['certificate_sha256'])[:16]}…\nexpire le {_when(one['certificate_until'])}"
        return [
            *(str(one[name]) for name in ("mandate_id", "person", "name", "act")),
            _when(one["valid_from"]),
            ends_at,
            certificate if one["certificate_sha256"] else "",
            _yes(one["is_in_force"]),
        ]

    columns = ("Mandat", "Personne", "Nom", "Acte", "Du", "Au", "Certificat", "En vigueur")
    _list("mandates", collectivite, _table(*columns), row, as_json=as_json)


@mandates.command("add", cls=FrenchCommand)
def add_mandate(
    collectivite: Siren,
    person: Annotated[str, typer.Option(metavar="SUB", help="Qui signe : le « sub » de son compte.")],
    name: Annotated[str, typer.Option(metavar="NOM", help="Tel qu’on le lit : « Camille Exemple, maire ».")],
    act: Annotated[str, typer.Option(metavar="ACTE", help="Ce qui donne le droit : « Délibération n° 12 ».")],
    since: Annotated[str, typer.Option("--from", metavar=MOMENT, help="Premier instant.")],
    until: Annotated[str, typer.Option("--until", metavar=MOMENT, help="Fin, exclue (sinon sans fin).")] = "",
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FICHIER", help="Seul certificat pour signer, PEM ou DER (sinon n’importe lequel)."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi ; l’hébergeur doit le dire.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Enregistre un mandat de signature."""
    with reporting(as_json=as_json):
        body: dict[str, object] = {
            "mandate_id": str(new_id()),  # so that a request that is made again records nothing more
            "collectivite": collectivite,
            "person": person,
            "name": name,
            "act": act,
            "valid_from": moment_of(since).isoformat(),
            "valid_until": moment_of(until).isoformat() if until else None,
            "certificate": _certificate_of(certificate) if certificate else "",
            "reason": reason or None,
        }
        answer = _send("POST", "/v1/mandates", body)
        emit_or_say(answer, f"Mandat {answer.get('mandate_id')} enregistré pour {name}.", as_json=as_json)


@circuits.command("list", cls=FrenchCommand)
def list_circuits(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les circuits qui s’appliquent à une collectivité."""

    def row(one: Mapping[str, object]) -> list[str]:
        return [
            str(one["flux_kind"]),
            "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(_members(one["steps"]), start=1)),
            "toutes" if one["collectivite"] == EVERY_COLLECTIVITE else str(one["collectivite"]),
            str(one["reason"]),
            str(one["changed_by"]),
            _when(one["changed_at"]),
        ]

    table = _table("Flux", "Étapes, dans l’ordre", "Réglé pour", "Motif", "Par", "Le")
    table.caption = "Les autres flux suivent le circuit d’origine de la plateforme."
    _list("circuits", collectivite, table, row, as_json=as_json)


@circuits.command("set", cls=FrenchCommand)
def set_circuit(
    collectivite: SirenOrAll,
    step: Annotated[
        list[str],
        typer.Option(metavar="ÉTAPE", help="Dans l’ordre : visa, signature ou cachet ; puis /domaine :sub,sub =Nom."),
    ],
    reason: Reason,
    kind: FluxKind = "*",
    *,
    as_json: AsJson = False,
) -> None:
    """Règle un circuit. Les flux en cours gardent le leur.

    Exemple : --step 'visa:amina,karim=Visa des finances' --step 'signature:camille'.
    """
    with reporting(as_json=as_json):
        answer = _set(collectivite, kind, [step_of(text) for text in step], reason)
        steps = wording.count(len(step), "étape", "étapes")
        emit_or_say(answer, f"Circuit réglé pour {_whom(collectivite)}, en {steps}.", as_json=as_json)


@circuits.command("reset", cls=FrenchCommand)
def reset_circuit(collectivite: SirenOrAll, reason: Reason, kind: FluxKind = "*", *, as_json: AsJson = False) -> None:
    """Reprend ce qui avait été réglé : le circuit de toutes, ou celui d’origine, s’applique."""
    with reporting(as_json=as_json):
        answer = _set(collectivite, kind, [], reason)
        sentence = f"Réglage repris pour {_whom(collectivite)} : voyez ce qui s’applique avec circuits list."
        emit_or_say(answer, sentence, as_json=as_json)


@delegations.command("list", cls=FrenchCommand)
def list_delegations(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les délégations d’une collectivité."""

    def row(one: Mapping[str, object]) -> list[str]:
        return [
            *(str(one[name]) for name in ("delegation_id", "absent", "substitute")),
            _when(one["valid_from"]),
            _when(one["ends_at"]),
            str(one["reason"]),
            _yes(one["is_in_force"]),
        ]

    table = _table("Délégation", "Absent", "Suppléant", "Du", "Au", "Motif", "En vigueur")
    _list("delegations", collectivite, table, row, as_json=as_json)


@delegations.command("add", cls=FrenchCommand)
def add_delegation(
    collectivite: Siren,
    absent: Annotated[str, typer.Option(metavar="SUB", help="Qui s’absente.")],
    substitute: Annotated[str, typer.Option(metavar="SUB", help="Qui prend ses étapes.")],
    since: Annotated[str, typer.Option("--from", metavar=MOMENT, help="Premier instant.")],
    until: Annotated[str, typer.Option("--until", metavar=MOMENT, help="Fin, exclue.")],
    reason: Reason,
    *,
    as_json: AsJson = False,
) -> None:
    """Délègue les étapes d’une personne à une autre. Pour signer, le suppléant a besoin de son propre mandat."""
    with reporting(as_json=as_json):
        body: dict[str, object] = {
            "delegation_id": str(new_id()),  # as for a mandate
            "collectivite": collectivite,
            "absent": absent,
            "substitute": substitute,
            "valid_from": moment_of(since).isoformat(),
            "valid_until": moment_of(until).isoformat(),
            "reason": reason,
        }
        answer = _send("POST", "/v1/delegations", body)
        emit_or_say(answer, f"Délégation {answer.get('delegation_id')} enregistrée.", as_json=as_json)


def _add_end(registry: typer.Typer, name: str, what: str, said: str) -> None:
    """Add the command that ends an entry of a registry; `what` and `said` are for people."""

    @registry.command("end", cls=FrenchCommand, help=said)
    def end(
        entry_id: Annotated[str, typer.Argument(metavar="ID", help="L’identifiant que montre la commande list.")],
        reason: Reason,
        at: At = "",
        *,
        as_json: AsJson = False,
    ) -> None:
        with reporting(as_json=as_json):
            body = {"reason": checked_reason(reason), "at": moment_of(at).isoformat() if at else None}
            answer = _send("POST", f"/v1/{name}/{_id_of(entry_id)}/end", body)
            emit_or_say(answer, f"{what} {entry_id} prend fin le {_when(answer.get('ends_at'))}.", as_json=as_json)


_add_end(mandates, "mandates", "Le mandat", "Met fin à un mandat. Ce qui est déjà signé le reste.")
_add_end(delegations, "delegations", "La délégation", "Met fin à une délégation avant l’heure.")


@seal.command("show", cls=FrenchCommand)
def show_seal(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Dit si le cachet de la plateforme signe pour une collectivité, et qui l’a choisi."""
    with reporting(as_json=as_json):
        answer = _read("seal", collectivite)
        if as_json:
            emit(answer)
            return
        signs = "signe" if answer.get("has_seal") else "ne signe pas"
        show(f"Le cachet de la plateforme {signs} pour {_whom(str(answer.get('collectivite')))}.")
        for one in _members([answer.get("choice")]):
            of_all = f"Réglé pour {_whom(str(one['collectivite']))}"
            show(f"{of_all} par {one['changed_by']}, le {_when(one['changed_at'])} : {one['reason']}")
        if not answer.get("is_available"):
            show("L’hébergeur n’a pas installé de cachet.")


@seal.command("choose", cls=FrenchCommand)
def choose_seal(collectivite: SirenOrAll, reason: Reason, *, as_json: AsJson = False) -> None:
    """Fait signer par le cachet de la plateforme ce qu’aucun circuit ne donne à des personnes."""
    _choose(collectivite, reason, has_seal=True, as_json=as_json)


@seal.command("leave", cls=FrenchCommand)
def leave_seal(collectivite: SirenOrAll, reason: Reason, *, as_json: AsJson = False) -> None:
    """Renonce au cachet de la plateforme. Ce qu’il a signé le reste."""
    _choose(collectivite, reason, has_seal=False, as_json=as_json)


def _choose(collectivite: str, reason: str, *, has_seal: bool, as_json: bool) -> None:
    with reporting(as_json=as_json):
        body = {"has_seal": has_seal, "reason": checked_reason(reason)}
        answer = _send("PUT", "/v1/seal", body, {"collectivite": collectivite})
        signs = "signe" if answer.get("has_seal") else "ne signe plus"
        emit_or_say(answer, f"Le cachet de la plateforme {signs} pour {_whom(collectivite)}.", as_json=as_json)


def step_of(text: str) -> dict[str, object]:
    """Read a step as people write it: `kind[/domain][:sub,sub][=Name]`.

    Raises:
        UsageProblemError: it is not written so.
    """
    found = _STEP.fullmatch(text.strip())
    kind = _STEP_KINDS.get(found["kind"].strip().lower()) if found else None
    domain = _DOMAINS.get((found["domain"] or "").strip().lower()) if found else None
    if found is None or kind is None or domain is None:
        raise UsageProblemError(
            "Étape illisible",
            f"« {text} » : écrivez visa, signature ou cachet, puis au besoin /depense ou /recette, :sub,sub (qui "
            "peut) et =Nom. Par exemple : signature/depense:camille=Signature du maire.",
        )
    persons = [person.strip() for person in (found["persons"] or "").split(",") if person.strip()]
    return {"kind": kind, "any_of": persons, "domain": domain, "name": (found["name"] or "").strip()}


def _list(
    name: str, collectivite: str, table: Table, row: Callable[[Mapping[str, object]], list[str]], *, as_json: bool
) -> None:
    """Show a registry of a collectivité: the entries that the API answers under its name."""
    with reporting(as_json=as_json):
        answer = _read(name, collectivite)
        if as_json:
            emit(answer)
            return
        for one in _members(answer.get(name)):
            table.add_row(*row(one))
        show(table)


def _read(name: str, collectivite: str) -> dict[str, object]:
    config = read_client_config(environ())
    chosen = collectivite or environ().get(COLLECTIVITE_VARIABLE, "") or config.collectivite
    params = {"collectivite": chosen} if chosen else {}
    with Api(config) as api:
        url = f"{api.url(SERVICE)}/v1/{name}"
        return api.send(SERVICE, lambda client: client.get(url, params=params))


def _send(
    method: str, path: str, body: Mapping[str, object], params: Mapping[str, str] | None = None
) -> dict[str, object]:
    with Api(read_client_config(environ())) as api:
        url = api.url(SERVICE) + path
        return api.send(SERVICE, lambda client: client.request(method, url, json=body, params=params))


def _set(collectivite: str, kind: str, steps: Sequence[Mapping[str, object]], reason: str) -> dict[str, object]:
    if kind not in _FLUX_KINDS:
        raise UsageProblemError("Sorte de flux inconnue", f"« {kind} » : écrivez {', '.join(_FLUX_KINDS)}.")
    body: dict[str, object] = {"flux_kind": kind, "steps": steps, "reason": checked_reason(reason)}
    return _send("PUT", "/v1/circuits", body, {"collectivite": collectivite})


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UsageProblemError(
            "Identifiant illisible", f"« {text} » : recopiez l’identifiant que montre la commande list."
        ) from error


def _certificate_of(path: Path) -> str:
    """Return a certificate as the API takes it; a private key never leaves this machine.

    Raises:
        UsageProblemError: the file cannot be read, or is no certificate.
    """
    try:
        with path.open("rb") as file:
            content = file.read(CERTIFICATE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageProblemError("Certificat illisible", f"{path} : {reason_of(error)}.") from error
    if b"PRIVATE KEY" in content:
        detail = (
            f"{path} contient une clé privée : elle n’est pas envoyée. Donnez un fichier qui n’a que le certificat."
        )
        raise UsageProblemError("Clé privée dans le fichier", detail)
    if len(content) > CERTIFICATE_BYTES_MAX:
        raise UsageProblemError("Certificat illisible", f"{path} dépasse {CERTIFICATE_BYTES_MAX} octets.")
    is_pem = b"-----BEGIN" in content
    return content.decode("ascii", "replace") if is_pem else b64encode(content).decode("ascii")


def _table(*columns: str) -> Table:
    table = Table(caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # an id is there to be copied
    return table


def _step(step: Mapping[str, object]) -> str:
    words = {"visa": "visa", "signature": "signature", "seal": "cachet de la plateforme"}
    who = step["any_of"]
    persons = ", ".join(map(str, who)) if isinstance(who, list) else ""
    said = str(step["name"] or words.get(str(step["kind"]), step["kind"]))
    domain = f" ({step['domain']})" if step["domain"] else ""
    return f"{said}{domain}" + (f" : {persons}" if persons else "")


def _whom(collectivite: str) -> str:
    return "toutes les collectivités" if collectivite == EVERY_COLLECTIVITE else collectivite


def _when(moment: object) -> str:
    return time_of(str(moment)) if moment else ""


def _yes(value: object) -> str:
    return "oui" if value else "non"


def _members(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

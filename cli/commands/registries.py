"""Commands for those who run a collectivité's signatures: mandates, circuits, delegations."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli.api import Api
from cli.client_config import COLLECTIVITE_VARIABLE, read_client_config
from cli.errors import UsageProblemError
from cli.french import FrenchCommand, FrenchGroup
from cli.options import AsJson, environ, moment_of
from cli.output import Table, emit, reason_of, reporting, say, show
from cli.timeline import time_of
from shared.facts.envelope import new_id

mandates = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Qui peut signer pour une collectivité, et quand.")
circuits = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les étapes entre un flux valide et son envoi.")
delegations = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Qui supplée qui, le temps d'une absence.")

SERVICE = "signature"
EVERYONE = "*"
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
    str, typer.Option("--collectivite", metavar="SIREN", help="Une collectivité ; * pour toutes (opérateurs).")
]
FluxKind = Annotated[
    str, typer.Option("--kind", metavar="SORTE", help="Pour quels flux : depense, recette, mixte, ou * pour tous.")
]
Reason = Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi, en 3 à 500 caractères.")]
At = Annotated[str, typer.Option("--at", metavar=MOMENT, help="À partir de quand (sinon tout de suite).")]


@mandates.command("list", cls=FrenchCommand)
def list_mandates(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les mandats de signature d'une collectivité."""
    with reporting(as_json=as_json):
        answer = _read("/v1/mandates", collectivite)
        if as_json:
            emit(answer)
            return
        table = _table("Mandat", "Personne", "Nom", "Acte", "Du", "Au", "Certificat", "En vigueur")
        for one in _members(answer.get("mandates")):
            ends_at = _when(one["ends_at"]) + (f"\n({one['ended_because']})" if one["ended_because"] else "")
            certificate = f"{str(one['certificate_sha256'])[:16]}…\nexpire le {_when(one['certificate_until'])}"
            table.add_row(
                *(str(one[name]) for name in ("mandate_id", "person", "name", "act")),
                _when(one["valid_from"]),
                ends_at,
                certificate if one["certificate_sha256"] else "",
                _yes(one["is_in_force"]),
            )
        show(table)


@mandates.command("add", cls=FrenchCommand)
def add_mandate(
    collectivite: Siren,
    person: Annotated[str, typer.Option(metavar="SUB", help="Qui signe : le « sub » de son compte.")],
    name: Annotated[str, typer.Option(metavar="NOM", help="Tel qu'on le lit : « Camille Exemple, maire ».")],
    act: Annotated[str, typer.Option(metavar="ACTE", help="Ce qui donne le droit : « Délibération n° 12 ».")],
    since: Annotated[str, typer.Option("--from", metavar=MOMENT, help="Premier instant.")],
    until: Annotated[str, typer.Option("--until", metavar=MOMENT, help="Fin, exclue (sinon sans fin).")] = "",
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FICHIER", help="Seul certificat pour signer, PEM ou DER (sinon n'importe lequel)."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi ; un opérateur doit le dire.")] = "",
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
        _told(answer, f"Mandat {answer.get('mandate_id')} enregistré pour {name}.", as_json=as_json)


@mandates.command("end", cls=FrenchCommand)
def end_mandate(
    mandate_id: Annotated[str, typer.Argument(metavar="ID", help="Identifiant du mandat.")],
    reason: Reason,
    at: At = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Met fin à un mandat. Ce qui est déjà signé le reste."""
    with reporting(as_json=as_json):
        answer = _send("POST", f"/v1/mandates/{_id_of(mandate_id)}/end", _end(reason, at))
        _told(answer, f"Le mandat {mandate_id} prend fin le {_when(answer.get('ends_at'))}.", as_json=as_json)


@circuits.command("list", cls=FrenchCommand)
def list_circuits(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les circuits qui s'appliquent à une collectivité."""
    with reporting(as_json=as_json):
        answer = _read("/v1/circuits", collectivite)
        if as_json:
            emit(answer)
            return
        table = _table("Flux", "Étapes, dans l'ordre", "Réglé pour", "Motif", "Par", "Le")
        for one in _members(answer.get("circuits")):
            table.add_row(
                str(one["flux_kind"]),
                "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(_members(one["steps"]), start=1)),
                "toutes" if one["collectivite"] == EVERYONE else str(one["collectivite"]),
                str(one["reason"]),
                str(one["changed_by"]),
                _when(one["changed_at"]),
            )
        table.caption = "Les autres flux suivent le circuit d'origine de la plateforme."
        show(table)


@circuits.command("set", cls=FrenchCommand)
def set_circuit(
    collectivite: SirenOrAll,
    step: Annotated[
        list[str],
        typer.Option(metavar="ÉTAPE", help="Dans l'ordre : visa, signature ou cachet ; puis /domaine :sub,sub =Nom."),
    ],
    reason: Reason,
    kind: FluxKind = EVERYONE,
    *,
    as_json: AsJson = False,
) -> None:
    """Règle un circuit. Les flux en cours gardent le leur.

    Exemple : --step 'visa:amina,karim=Visa des finances' --step 'signature:camille'.
    """
    with reporting(as_json=as_json):
        answer = _set(collectivite, kind, [step_of(text) for text in step], reason)
        _told(answer, f"Circuit réglé pour {_whom(collectivite)}, en {len(step)} étape(s).", as_json=as_json)


@circuits.command("reset", cls=FrenchCommand)
def reset_circuit(
    collectivite: SirenOrAll, reason: Reason, kind: FluxKind = EVERYONE, *, as_json: AsJson = False
) -> None:
    """Reprend ce qui avait été réglé : le circuit de toutes, ou celui d'origine, s'applique."""
    with reporting(as_json=as_json):
        answer = _set(collectivite, kind, [], reason)
        sentence = f"Réglage repris pour {_whom(collectivite)} : voyez ce qui s'applique avec circuits list."
        _told(answer, sentence, as_json=as_json)


@delegations.command("list", cls=FrenchCommand)
def list_delegations(collectivite: SirenOrNone = "", *, as_json: AsJson = False) -> None:
    """Liste les délégations d'une collectivité."""
    with reporting(as_json=as_json):
        answer = _read("/v1/delegations", collectivite)
        if as_json:
            emit(answer)
            return
        table = _table("Délégation", "Absent", "Suppléant", "Du", "Au", "Motif", "En vigueur")
        for one in _members(answer.get("delegations")):
            table.add_row(
                *(str(one[name]) for name in ("delegation_id", "absent", "substitute")),
                _when(one["valid_from"]),
                _when(one["ends_at"]),
                str(one["reason"]),
                _yes(one["is_in_force"]),
            )
        show(table)


@delegations.command("add", cls=FrenchCommand)
def add_delegation(
    collectivite: Siren,
    absent: Annotated[str, typer.Option(metavar="SUB", help="Qui s'absente.")],
    substitute: Annotated[str, typer.Option(metavar="SUB", help="Qui prend ses étapes.")],
    since: Annotated[str, typer.Option("--from", metavar=MOMENT, help="Premier instant.")],
    until: Annotated[str, typer.Option("--until", metavar=MOMENT, help="Fin, exclue.")],
    reason: Reason,
    *,
    as_json: AsJson = False,
) -> None:
    """Délègue les étapes d'une personne à une autre. Pour signer, le suppléant a besoin de son propre mandat."""
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
        _told(answer, f"Délégation {answer.get('delegation_id')} enregistrée.", as_json=as_json)


@delegations.command("end", cls=FrenchCommand)
def end_delegation(
    delegation_id: Annotated[str, typer.Argument(metavar="ID", help="Identifiant de la délégation.")],
    reason: Reason,
    at: At = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Met fin à une délégation avant l'heure."""
    with reporting(as_json=as_json):
        answer = _send("POST", f"/v1/delegations/{_id_of(delegation_id)}/end", _end(reason, at))
        sentence = f"La délégation {delegation_id} prend fin le {_when(answer.get('ends_at'))}."
        _told(answer, sentence, as_json=as_json)


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


def _read(path: str, collectivite: str) -> dict[str, object]:
    config = read_client_config(environ())
    chosen = collectivite or environ().get(COLLECTIVITE_VARIABLE, "") or config.collectivite
    params = {"collectivite": chosen} if chosen else {}
    with Api(config) as api:
        url = api.url(SERVICE) + path
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
    _check_reason(reason)
    body: dict[str, object] = {"flux_kind": kind, "steps": steps, "reason": reason}
    return _send("PUT", "/v1/circuits", body, {"collectivite": collectivite})


def _end(reason: str, at: str) -> dict[str, object]:
    _check_reason(reason)
    return {"reason": reason, "at": moment_of(at).isoformat() if at else None}


def _check_reason(reason: str) -> None:
    if not 3 <= len(reason.strip()) <= 500:
        raise UsageProblemError("Motif à préciser", "Dites pourquoi, en 3 à 500 caractères (--reason).")


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UsageProblemError(
            "Identifiant illisible", f"« {text} » : recopiez l'identifiant que montre la commande list."
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
            f"{path} contient une clé privée : elle n'est pas envoyée. Donnez un fichier qui n'a que le certificat."
        )
        raise UsageProblemError("Clé privée dans le fichier", detail)
    if len(content) > CERTIFICATE_BYTES_MAX:
        raise UsageProblemError("Certificat illisible", f"{path} dépasse {CERTIFICATE_BYTES_MAX} octets.")
    is_pem = b"-----BEGIN" in content
    return content.decode("ascii", "replace") if is_pem else b64encode(content).decode("ascii")


def _told(answer: Mapping[str, object], sentence: str, *, as_json: bool) -> None:
    if as_json:
        emit(answer)
    else:
        say(sentence)


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
    return "toutes les collectivités" if collectivite == EVERYONE else collectivite


def _when(moment: object) -> str:
    return time_of(str(moment)) if moment else ""


def _yes(value: object) -> str:
    return "oui" if value else "non"


def _members(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

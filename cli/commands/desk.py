"""Commands of those who sign and approve on a platform: what waits for them, sign, approve, refuse, begin again."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from cli import wording
from cli.api import Api
from cli.client_config import read_client_config
from cli.commands.signature import (
    CertificateOption,
    P12Option,
    PasswordFileOption,
    PinFileOption,
    Pkcs11Option,
    TokenOption,
    check_key_options,
    open_key,
    warn_of_expiry,
)
from cli.errors import ExitCode, RefusedError, UsageProblemError
from cli.findings import show_problem
from cli.options import AsJson, FluxId, environ
from cli.output import Table, console, emit, reporting, say, show
from cli.timeline import members_of, time_of
from services.signature.adapters.keys import KeyUnusableError, SigningKey
from services.signature.outline import UnsignableError, read_outline
from services.signature.xades import Claims, prepare

FluxIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Identifiants des flux.")]
SomeFluxIds = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Identifiants des flux.")]
Reason = Annotated[str, typer.Option(metavar="MOTIF", help="Pourquoi.")]
AllOption = Annotated[bool, typer.Option("--all", help="Tout ce qui vous attend.")]

_KINDS = {"visa": "visa", "signature": "signature", "seal": "cachet"}
_STEPS = {"done": "fait", "next": "à faire", "later": "ensuite"}
_DONE = {"signed": "signé", "visa": "visé", "refused": "refusé", "prepared": "préparé"}


def pending(*, as_json: AsJson = False) -> None:
    """Liste les flux que vous avez à viser ou à signer."""
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, "/v1/signatures/pending")
        if as_json:
            emit(answer)
            return
        rows = members_of(answer, "flux")
        if not rows:
            say("Rien ne vous attend.")
            return
        table = Table()
        for number, column in enumerate(
            ("Flux", "Collectivité", "Fichier", "À faire", "Depuis", "Bordereaux", "Montant")
        ):
            table.add_column(column, overflow="fold", no_wrap=number == 0)  # an identifier is copied whole
        for row in rows:
            bordereaux = members_of(row, "bordereaux")
            table.add_row(
                str(row["flux_id"]),
                str(row["collectivite"]),
                str(row["filename"]),
                str(row["name"] or _KINDS.get(str(row["kind"]), "")),
                time_of(str(row["since"])),
                str(len(bordereaux)),
                _amount(_total(bordereaux)),
            )
        show(table)


def certificates(*, as_json: AsJson = False) -> None:
    """Liste les certificats que connaît la plateforme, et quand ils expirent."""
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, "/v1/certificates")
        if as_json:
            emit(answer)
            return
        words = {"mandate": "mandat", "seal": "cachet", "authority": "autorité"}
        table = Table()
        for column in ("Certificat", "De quoi", "Collectivité", "Expire le", "Reste"):
            table.add_column(column, overflow="fold")
        for one in members_of(answer, "certificates"):
            announced = " : à renouveler" if one["is_announced"] else ""
            table.add_row(
                str(one["name"]),
                words.get(str(one["kind"]), str(one["kind"])),
                str(one["collectivite"]),
                time_of(str(one["until"])),
                f"{one['days_left']} jours{announced}",
            )
        show(table)


def circuit(flux_id: FluxId, *, as_json: AsJson = False) -> None:
    """Montre le circuit d'un flux : les étapes faites, par qui, et qui est attendu."""
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, f"/v1/flux/{flux_id}/circuit")
        if as_json:
            emit(answer)
            return
        show(f"Flux {flux_id} : {answer.get('on_screen')}")
        steps = members_of(answer, "steps")
        if not steps:
            say("Aucun circuit : la signature n'est pas demandée.")
            return
        table = Table()
        for column in ("N°", "Étape", "Qui", "État", "Par"):
            table.add_column(column, overflow="fold")
        for step in steps:
            table.add_row(*_step(step))
        show(table)
        if answer.get("is_mine"):
            say("C'est à vous : `flux visa`, `flux sign` ou `flux refuse`.")


def give_visa(
    flux_ids: FluxIds,
    comment: Annotated[str, typer.Option(metavar="TEXTE", help="Un commentaire.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Vise des flux : chacun est traité, même si un autre est refusé."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(api, "/v1/signatures/visa", {"flux": flux_ids, "comment": comment})
        _tell(answer, as_json=as_json)


def refuse(flux_ids: FluxIds, reason: Reason, *, as_json: AsJson = False) -> None:
    """Refuse des flux à l'étape où ils sont : ils retournent à qui les a importés, avec le motif."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(api, "/v1/signatures/refuse", {"flux": flux_ids, "reason": _reason(reason)})
        _tell(answer, as_json=as_json)


def restart(flux_id: FluxId, reason: Reason, *, as_json: AsJson = False) -> None:
    """Relance le circuit d'un flux, tel qu'il est réglé maintenant ; les signatures déjà données sont à refaire."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(api, f"/v1/flux/{flux_id}/circuit/restart", {"reason": _reason(reason)})
        if as_json:
            emit(answer)
        else:
            say("Le circuit est relancé.")


def sign(
    city: Annotated[str, typer.Option(metavar="VILLE", help="Ville où vous signez.")],
    postal_code: Annotated[str, typer.Option(metavar="CODE", help="Code postal de la ville.")],
    flux_ids: SomeFluxIds = None,
    p12: P12Option = None,
    password_file: PasswordFileOption = None,
    module: Pkcs11Option = None,
    token: TokenOption = "",
    pin_file: PinFileOption = None,
    certificate: CertificateOption = "",
    role: Annotated[str, typer.Option("--role", metavar="RÔLE", help="À quel titre vous signez.")] = "Ordonnateur",
    *,
    every: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ne demande pas confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Signe des flux de la plateforme avec votre clé, qui reste chez vous : chacun est traité, quoi qu'il arrive."""
    with reporting(as_json=as_json):
        check_key_options(p12, password_file, module, token, pin_file, certificate)
        with (
            _api() as api,
            closing(open_key(p12, password_file, module, token, pin_file, certificate)) as key,
        ):
            wanted = _wanted(api, flux_ids or [], every=every)
            der = b64encode(key.certificate.public_bytes(Encoding.DER)).decode()
            stated = {"certificate": der, "role": role, "city": city, "postal_code": postal_code}
            prepared = _post(api, "/v1/signatures/prepare", {**stated, "flux": wanted})
            items = members_of(prepared, "items")
            ready = [one for one in items if one.get("status") == "prepared"]
            if not as_json:
                _show_prepared(items)
            if ready and not yes and not as_json and not typer.confirm("Signer ?"):
                raise RefusedError("Rien n'est signé", "Vous avez répondu non.")
            warn_of_expiry(key.certificate, datetime.now(UTC))
            at = datetime.fromisoformat(str(prepared["signing_time"]))
            claims = Claims(role, city, postal_code)
            signed: list[Mapping[str, object]] = []
            refused = [one for one in items if one not in ready]
            for one in ready:
                try:
                    signed.append({"flux_id": one["flux_id"], "values": _values(api, one, key, at, claims)})
                except RefusedError as error:  # told in its place; what is signed is not lost
                    refused.append({"flux_id": one["flux_id"], "status": "refused", "problem": error.document})
            done = _complete(api, {**stated, "signing_time": prepared["signing_time"]}, signed)
            _tell({"items": [*refused, *done]}, as_json=as_json)


def _wanted(api: Api, flux_ids: Sequence[str], *, every: bool) -> list[str]:
    if bool(flux_ids) == every:
        raise UsageProblemError("Que signer ?", "Donnez des identifiants de flux, ou --all pour tout ce qui attend.")
    if not every:
        return list(flux_ids)
    waiting = members_of(_get(api, "/v1/signatures/pending"), "flux")
    found = [str(one["flux_id"]) for one in waiting if one["kind"] == "signature"]
    if not found:
        raise RefusedError("Rien à signer", "Aucun flux n'attend votre signature.")
    return found[:500]


def _values(
    api: Api, item: Mapping[str, object], key: SigningKey, at: datetime, claims: Claims
) -> list[dict[str, str]]:
    """Sign one flux: not the bytes that the platform hands out, but those that we prepare from the document itself.

    Raises:
        RefusedError: they are not the same, or the key does not sign.
    """
    document = api.download("signature", f"/v1/flux/{item['flux_id']}/document")
    wanted = {str(one["element_id"]): b64decode(str(one["to_sign"])) for one in members_of(item, "elements")}
    try:
        outline = read_outline(document)
        chosen = [one for one in outline.targets if one.element_id in wanted]
        prepared = prepare(
            document, chosen, certificate=key.certificate, signing_time=at, claims=claims, outline=outline
        )
        if {one.element_id: one.to_sign for one in prepared} != wanted:
            raise RefusedError(
                "Rien n'est signé",
                f"Ce que la plateforme demande de signer n'est pas ce que contient le flux {item['flux_id']}. "
                "Prévenez votre hébergeur.",
            )
        return [
            {"element_id": one.element_id, "value": b64encode(key.sign(one.to_sign)).decode()} for one in prepared
        ]
    except UnsignableError as error:
        raise RefusedError("Ce flux ne peut pas être signé", str(error)) from error
    except KeyUnusableError as error:
        raise RefusedError("Clé inutilisable", str(error)) from error


def _complete(
    api: Api, stated: Mapping[str, object], signed: Sequence[Mapping[str, object]]
) -> list[Mapping[str, object]]:
    if not signed:
        return []
    return members_of(_post(api, "/v1/signatures/complete", {**stated, "items": list(signed)}), "items")


def _show_prepared(items: Iterable[Mapping[str, object]]) -> None:
    table = Table()
    for column in ("Flux", "Bordereaux", "Pièces", "Montant"):
        table.add_column(column, overflow="fold")
    count, total = 0, Decimal(0)
    for item in items:
        if item.get("status") != "prepared":
            continue
        bordereaux = members_of(item, "bordereaux")
        count, total = count + len(bordereaux), total + _total(bordereaux)
        pieces = sum(int(str(one.get("pieces") or 0)) for one in bordereaux)
        table.add_row(str(item["flux_id"]), _numbers(bordereaux), str(pieces), _amount(_total(bordereaux)))
    table.add_section()
    table.add_row("En tout", wording.count(count, "bordereau", "bordereaux"), "", _amount(total))
    show(table)


def _tell(answer: Mapping[str, object], *, as_json: bool) -> None:
    """Tell what became of each flux; one that was refused makes the exit status 1."""
    items = members_of(answer, "items")
    if as_json:
        emit(answer)
    for item in items if not as_json else ():
        problem = item.get("problem")
        if isinstance(problem, Mapping):
            show(f"{item['flux_id']} : refusé")
            show_problem(console(stderr=True), problem)
        else:
            show(f"{item['flux_id']} : {_DONE.get(str(item.get('status')), item.get('status'))}")
    if any(isinstance(item.get("problem"), Mapping) for item in items):
        raise typer.Exit(ExitCode.REFUSED)


def _step(step: Mapping[str, object]) -> tuple[str, str, str, str, str]:
    people = step.get("any_of")
    any_of = ", ".join(map(str, people)) if isinstance(people, list) and people else "qui en a le droit"
    kind = _KINDS.get(str(step["kind"]), str(step["kind"]))
    taken = [
        f"{one['by']}{f' pour {absent}' if (absent := one.get('on_behalf_of')) else ''}, {time_of(str(one['at']))}"
        f"{f' : {said}' if (said := one.get('reason') or one.get('comment')) else ''}"
        for one in members_of(step, "taken")
    ]
    status = _STEPS.get(str(step["status"]), "")
    who = "" if step["kind"] == "seal" else any_of
    return str(step["number"]), str(step["name"] or kind), who, status, "\n".join(taken)


def _numbers(bordereaux: Sequence[Mapping[str, object]]) -> str:
    words = {"depense": "dépense", "recette": "recette"}
    return ", ".join(f"{words.get(str(one['domain']), one['domain'])} {one['number']}" for one in bordereaux)


def _total(bordereaux: Iterable[Mapping[str, object]]) -> Decimal:
    total = Decimal(0)
    for one in bordereaux:
        try:
            total += Decimal(str(one.get("amount") or 0))
        except InvalidOperation:
            continue
    return total


def _amount(amount: Decimal) -> str:
    return f"{amount:,.2f} €".replace(",", " ").replace(".", ",")


def _reason(reason: str) -> str:
    if len(reason.strip()) < 3:
        raise UsageProblemError("Motif trop court", "Dites pourquoi, en 3 à 500 caractères (--reason).")
    return reason


def _api() -> Api:
    return Api(read_client_config(environ()))


def _get(api: Api, path: str) -> dict[str, object]:
    return api.send("signature", lambda client: client.get(api.url("signature") + path))


def _post(api: Api, path: str, body: Mapping[str, object]) -> dict[str, object]:
    return api.send("signature", lambda client: client.post(api.url("signature") + path, json=dict(body)))

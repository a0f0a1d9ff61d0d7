"""Commands of those who sign and approve on a platform: what waits for them, sign, approve, refuse, begin again."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.errors import ExitCode
from cli.options import AsJson, FluxId, Reason, checked_reason, environ, ids_of
from cli.showing.findings import show_problem
from cli.showing.output import Table, console, emit, emit_or_say, reporting, say, show
from cli.showing.timeline import members_of, time_of
from shared import wording

FluxIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Identifiants des flux.")]

_KINDS = {"visa": "visa", "signature": "signature", "seal": "cachet"}
_STEPS = {"done": "fait", "next": "à faire", "declined": "refusé", "later": "ensuite"}
_DONE = {
    "signed": "signé",
    "visa": "visé",
    "declined": "refusé, le flux retourne à qui l’a importé",
}


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
                wording.euros(_total(bordereaux)),
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
    """Montre le circuit d’un flux : les étapes faites, par qui, et qui est attendu."""
    with reporting(as_json=as_json), _api() as api:
        answer = _get(api, f"/v1/flux/{flux_id}/circuit")
        if as_json:
            emit(answer)
            return
        show(f"Flux {flux_id} : {answer.get('on_screen')}")
        steps = members_of(answer, "steps")
        if not steps:
            say("Aucun circuit : la signature n’est pas demandée.")
            return
        table = Table()
        for column in ("N°", "Étape", "Qui", "État", "Par"):
            table.add_column(column, overflow="fold")
        for step in steps:
            table.add_row(*_step(step))
        show(table)
        _say_what_next(answer, steps, flux_id)


def give_visa(
    flux_ids: FluxIds,
    comment: Annotated[str, typer.Option(metavar="TEXTE", help="Un commentaire.")] = "",
    step: Annotated[int, typer.Option(metavar="N°", min=0, help="L’étape, pour qui en prend deux de suite.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Vise des flux : chacun est traité, même si un autre est refusé."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(
            api, "/v1/signatures/visa", {"flux": ids_of(flux_ids), "comment": comment, "step": step or None}
        )
        tell(answer, as_json=as_json)


def refuse(flux_ids: FluxIds, reason: Reason, *, as_json: AsJson = False) -> None:
    """Refuse des flux à l’étape où ils sont : ils retournent à qui les a importés, avec le motif."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(api, "/v1/signatures/refuse", {"flux": ids_of(flux_ids), "reason": checked_reason(reason)})
        tell(answer, as_json=as_json)


def restart(flux_id: FluxId, reason: Reason, *, as_json: AsJson = False) -> None:
    """Relance le circuit d’un flux, tel qu’il est réglé maintenant ; les signatures déjà données sont à refaire."""
    with reporting(as_json=as_json), _api() as api:
        answer = _post(api, f"/v1/flux/{flux_id}/circuit/restart", {"reason": checked_reason(reason)})
        emit_or_say(answer, "Le circuit est relancé.", as_json=as_json)


def tell(answer: Mapping[str, object], *, as_json: bool) -> None:
    """Tell what became of each flux; one that was refused makes the exit status 1."""
    items = members_of(answer, "items")
    if as_json:
        emit(answer)
    for item in items if not as_json else ():
        problem = item.get("problem")
        if isinstance(problem, Mapping):
            show(f"{item['flux_id']} : rien n’est fait")
            show_problem(console(stderr=True), problem)
        else:
            show(f"{item['flux_id']} : {_DONE.get(str(item.get('status')), item.get('status'))}")
    if any(isinstance(item.get("problem"), Mapping) for item in items):
        raise typer.Exit(ExitCode.REFUSED)


def _say_what_next(answer: Mapping[str, object], steps: Sequence[Mapping[str, object]], flux_id: str) -> None:
    if since := answer.get("since"):
        say(f"Attend depuis le {time_of(str(since))}.")
    for step in steps:
        lacking = step.get("without_mandate")
        if isinstance(lacking, list) and lacking:
            say(f"Sans mandat en vigueur : {', '.join(map(str, lacking))} (heliotrope mandates add).")
    waiting = next((step for step in steps if step["status"] == "next"), None)
    if answer.get("is_mine") and waiting is not None:
        word = "visa" if waiting["kind"] == "visa" else "sign"
        say(f"C’est à vous : heliotrope flux {word} {flux_id}, ou heliotrope flux refuse {flux_id} --reason …")
    if answer.get("state") == "signature_refused":
        say(
            f"Pour demander de nouveau les signatures : heliotrope flux restart {flux_id} --reason …\n"
            f"Pour abandonner ce flux : heliotrope flux cancel {flux_id} --reason …"
        )


def _step(step: Mapping[str, object]) -> tuple[str, str, str, str, str]:
    people = step.get("any_of")
    any_of = ", ".join(map(str, people)) if isinstance(people, list) and people else "qui en a le droit"
    substitutes = step.get("substitutes")
    if isinstance(substitutes, list) and substitutes:
        any_of += f"\n(par délégation : {', '.join(map(str, substitutes))})"
    kind = _KINDS.get(str(step["kind"]), str(step["kind"]))
    taken = [
        f"{one['by']}{f' pour {absent}' if (absent := one.get('on_behalf_of')) else ''}, {time_of(str(one['at']))}"
        f"{f' : {said}' if (said := one.get('reason') or one.get('comment')) else ''}"
        for one in members_of(step, "taken")
    ]
    status = _STEPS.get(str(step["status"]), "")
    who = "" if step["kind"] == "seal" else any_of
    elements = step.get("elements")
    signed = (
        f" ({wording.count(len(elements), 'élément', 'éléments')})" if isinstance(elements, list) and elements else ""
    )
    return str(step["number"]), f"{step['name'] or kind}{signed}", who, status, "\n".join(taken)


def _total(bordereaux: Iterable[Mapping[str, object]]) -> Decimal:
    total = Decimal(0)
    for one in bordereaux:
        try:
            total += Decimal(str(one.get("amount") or 0))
        except InvalidOperation:
            continue
    return total


def _api() -> Api:
    return Api(read_client_config(environ()))


def _get(api: Api, path: str) -> dict[str, object]:
    return api.send("signature", lambda client: client.get(api.url("signature") + path))


def _post(api: Api, path: str, body: Mapping[str, object]) -> dict[str, object]:
    return api.send("signature", lambda client: client.post(api.url("signature") + path, json=dict(body)))

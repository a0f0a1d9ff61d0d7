"""Checks files before anything is imported: offline, with the same rules as the platform."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.table import Table

from cli import wording
from cli.api import Api
from cli.client_config import read_client_config
from cli.collectivite import collectivite_of
from cli.errors import ExitCode, UsageProblemError
from cli.findings import show_findings
from cli.french import FrenchCommand, FrenchGroup
from cli.options import AsJson, environ
from cli.output import console, emit, reporting, say, show
from services.validation.difference import differences
from services.validation.judge import Judgement, Rules, judge, judge_by_schema, told
from services.validation.packs import (
    CompiledPack,
    PackError,
    PackFiles,
    built_in,
    compile_pack,
    read_archive,
    read_pack,
)
from services.validation.reader import Unreadable, missing, read_document, wrong_root
from services.validation.synthese import Json, Synthese, read_synthese
from shared.pes import PES_ALLER

Files = Annotated[list[Path], typer.Argument(metavar="FICHIER…", help="Fichiers PES.")]
PackOption = Annotated[
    str,
    typer.Option(
        "--pack",
        metavar="PACK",
        help="Pack de schémas : dossier, archive ZIP, ou nom d'un pack de la plateforme (sinon celui fourni).",
    ),
]
VERDICTS = {"valid": "valide", "invalid": "invalide", "unreadable": "illisible"}
# What the fields of a synthèse are called on a screen.
LABELS = {
    "nomfic": "NomFic",
    "typfic": "TypFic",
    "id_post": "Poste comptable",
    "label_post": "Nom du poste",
    "id_coll": "SIRET",
    "cod_col": "CodCol",
    "cod_bud": "CodBud",
    "label": "Budget",
    "emitted_on": "Émis le",
    "emitter": "Éditeur",
    "application": "Application",
    "element_id": "Id",
    "is_signed": "Signé",
    "type": "type",
    "nature": "nature",
    "object": "objet",
    "amount": "montant",
    "vat": "TVA",
    "fonction": "fonction",
    "operation": "opération",
    "payment": "mode de règlement",
    "tiers": "tiers",
    "attachments": "pièces jointes",
    "ligne": "ligne",
}
EXIT_CODES = {"valid": ExitCode.DONE, "invalid": ExitCode.REFUSED, "unreadable": ExitCode.USAGE}

schemas = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les packs de schémas PES.")


def check(files: Files, pack: PackOption = "", *, as_json: AsJson = False) -> None:
    """Contrôle des fichiers sans rien importer. Rend 0 : valides, 1 : anomalies bloquantes, 2 : illisible."""
    with reporting(as_json=as_json):
        rules = Rules(packs=(compiled(pack),))
        judgements = [(path, _judged(path, rules)) for path in files]
        if as_json:
            emit([told(str(path), judgement) for path, judgement in judgements])
        else:
            for path, judgement in judgements:
                _show(path, judgement)
        worst = max(EXIT_CODES[judgement.verdict] for _, judgement in judgements)
        if worst:
            raise typer.Exit(worst)


def synthese(
    file: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier PES.")], *, as_json: AsJson = False
) -> None:
    """Dit ce que contient un fichier ; avec --json, tout : bordereaux, pièces, tiers, montants, pièces jointes."""
    with reporting(as_json=as_json):
        found = _synthese(file)
        if as_json:
            emit({**found.index, "pieces": _pieces(found)})
        else:
            show_index(found.index)


def diff(
    old: Annotated[Path, typer.Argument(metavar="ANCIEN", help="Première version du flux.")],
    new: Annotated[Path, typer.Argument(metavar="NOUVEAU", help="Seconde version du flux.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Compare deux versions d'un flux : pièces ajoutées, retirées, modifiées. Rend 1 si elles diffèrent."""
    with reporting(as_json=as_json):
        before, after = (_pieces(_synthese(path)) for path in (old, new))
        found = differences(before, after)
        if as_json:
            emit(found)
        else:
            show_difference(found)
        if found["added"] or found["removed"] or found["changed"]:
            raise typer.Exit(ExitCode.REFUSED)


def show_index(index: Json) -> None:
    """Show the index of a synthèse to a person."""
    header = index.get("header")
    for name, value in (header if isinstance(header, dict) else {}).items():
        if value:
            show(f"{LABELS.get(name, name)} : {'oui' if value is True else value}")
    table = Table()
    for column in ("Domaine", "Exercice", "Bordereau", "Type", "Date", "Pièces", "Lignes", "Montant"):
        table.add_column(column, overflow="fold")
    names = ("exercice", "number", "type", "emitted_on", "pieces", "lignes", "amount")
    for domain in _listed(index.get("domains")):
        for one in _listed(domain.get("bordereaux")):
            table.add_row(str(domain["domain"]), *(str(one.get(name) or "") for name in names))
    show(table)
    attachments = Table()
    for column in ("PJ", "Nom", "Type", "IdUnique", "Taille encodée"):
        attachments.add_column(column, overflow="fold")
    for one in _listed(index.get("attachments")):
        size = wording.size(int(str(one.get("encoded_bytes") or 0)))
        names_shown = (str(one.get(name) or "") for name in ("position", "name", "type", "id_unique"))
        attachments.add_row(*names_shown, size)
    show(attachments)


def show_difference(found: Json) -> None:
    """Show a difference to a person."""
    for name, label in (("added", "Ajoutée"), ("removed", "Retirée"), ("changed", "Modifiée")):
        for piece in _listed(found.get(name)):
            amount = f", {piece['amount']} €" if piece.get("amount") else ""
            show(
                f"{label} : pièce {piece.get('number')} du bordereau {piece.get('bordereau')} "
                f"({piece.get('domain')}, {piece.get('exercice')}){amount}"
            )
            for change in _listed(piece.get("changes")):
                ligne = f"ligne {change['ligne']}, " if change.get("ligne") else ""
                field = LABELS.get(str(change["field"]), str(change["field"]))
                show(f"  {ligne}{field} : {_brief(change['before'])} → {_brief(change['after'])}")
    totals = found.get("totals")
    for domain, total in (totals if isinstance(totals, dict) else {}).items():
        say(f"Total {domain} : {total['before']} → {total['after']} ({total['difference']})")
    say(f"Sans changement : {wording.count(int(str(found.get('unchanged') or 0)), 'pièce', 'pièces')}.")


def _brief(value: object) -> str:
    """Say a value in one line: of a ligne its amount, of a list how many there are."""
    if isinstance(value, dict):
        return f"{value.get('amount')} €"
    if isinstance(value, list):
        return ", ".join(_brief(one.get("name")) if isinstance(one, dict) else str(one) for one in value) or "rien"
    return "rien" if value is None else str(value)


def compiled(pack: str) -> CompiledPack:
    """Return the pack that an option names; the one that comes with the platform when it names none.

    Raises:
        UsageProblemError: there is no such pack, or it is none.
    """
    if not pack or pack == built_in().pack_id:
        return CompiledPack(built_in())
    try:
        if not Path(pack).exists() and "/" not in pack:
            return compile_pack(_installed(pack))
        return compile_pack(read_pack(Path(pack)))
    except PackError as error:
        raise UsageProblemError("Ce n'est pas un pack de schémas", f"{pack} : {error}") from error
    except OSError as error:
        raise UsageProblemError("Pack de schémas illisible", f"{pack} : {error.strerror or error}.") from error


def _installed(pack_id: str) -> PackFiles:
    """Return a pack of the platform, which must answer then."""
    with Api(read_client_config(environ())) as api:
        return read_archive(api.download("validation", f"/v1/schemas/{quote(pack_id)}"), pack_id)


def _judged(path: Path, rules: Rules) -> Judgement:
    try:
        document = path.read_bytes()
    except OSError as error:
        return Judgement("unreadable", (missing(str(path), error.strerror or str(error)),))
    return judge(document, rules, collectivite=collectivite_of(document), today=datetime.now(UTC).date())


def _show(path: Path, judgement: Judgement) -> None:
    pack = f" (pack {judgement.pack.pack_id})" if judgement.pack else ""
    show(f"{path} : {VERDICTS[judgement.verdict]}{pack}")
    show_findings(console(), [finding.model_dump(mode="json") for finding in judgement.findings])


def _synthese(path: Path) -> Synthese:
    try:
        _, root = read_document(path.read_bytes())
    except OSError as error:
        raise UsageProblemError("Fichier illisible", f"{path} : {error.strerror or error}.") from error
    except Unreadable as error:
        raise UsageProblemError("Fichier illisible", f"{path} : {error}") from error
    if root.tag != PES_ALLER:
        raise UsageProblemError("Ce n'est pas un PES Aller", f"{path} : {wrong_root(root).message}")
    return read_synthese(root)


def _pieces(synthese: Synthese) -> list[Json]:
    return [piece for page in synthese.pages for piece in page]


def _listed(value: object) -> Sequence[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


@schemas.command("check", cls=FrenchCommand)
def check_with_schema(
    file: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier PES, ou réponse d'Hélios.")],
    pack: PackOption = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Valide un fichier avec un pack de schémas seulement, sans les autres contrôles (hors ligne)."""
    with reporting(as_json=as_json):
        chosen = compiled(pack)
        judgement = _by_schema(file, chosen)
        if as_json:
            emit(told(str(file), judgement))
        else:
            _show(file, judgement)
        if EXIT_CODES[judgement.verdict]:
            raise typer.Exit(EXIT_CODES[judgement.verdict])


def _by_schema(path: Path, pack: CompiledPack) -> Judgement:
    try:
        return judge_by_schema(path.read_bytes(), pack)
    except OSError as error:
        return Judgement("unreadable", (missing(str(path), error.strerror or str(error)),))

"""Checks files before anything is imported: offline, with the same rules as the platform."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.collectivite import HEAD_BYTES, collectivite_of
from cli.errors import ExitCode, UsageProblemError
from cli.options import AsJson, environ
from cli.showing.findings import show_findings
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, console, emit, reason_of, reporting, say, show
from pes.difference import differences, index_differences
from pes.judge import Judgement, Rules, judge, judge_by_schema, told
from pes.reader import Unreadable, missing, read_document, too_costly, too_large, wrong_root
from pes.reading.xml import PES_ALLER
from pes.schemas import packs
from pes.synthese import Json, Synthese, read_synthese
from pes.tasks import JudgeTask, judge_file
from pes.units import MEBIBYTE
from shared import wording
from shared.runtime.workers import Pool, WorkerLostError

Files = Annotated[list[Path], typer.Argument(metavar="FICHIER…", help="Fichiers PES.")]
PackOption = Annotated[
    str,
    typer.Option(
        "--pack",
        metavar="PACK",
        help="Pack de schémas : dossier, archive ZIP, ou nom d’un pack de la plateforme (sinon celui fourni).",
    ),
]
VERDICTS = {"valid": "valide", "invalid": "invalide", "unreadable": "illisible"}
# A file that is not large cannot cost much; a larger one is judged within bounds.
LARGE_BYTES = 256 * 1024
FILE_BYTES_MAX = 128 * MEBIBYTE
SECONDS_MAX = 60.0
MEMORY_BYTES_MAX = 4096 * MEBIBYTE
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
}
# What the fields of bordereaux, pièces and lignes are called.
FIELDS = {
    "type": "type",
    "nature": "nature",
    "emitted_on": "date",
    "cumulative": "cumul annuel",
    "pieces_declared": "nombre de pièces annoncé",
    "is_signed": "signé",
    "label": "libellé",
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
DOMAINS = {"depense": "dépense", "recette": "recette", "marche": "marché"}
EXIT_CODES = {"valid": ExitCode.DONE, "invalid": ExitCode.REFUSED, "unreadable": ExitCode.USAGE}

schemas = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les packs de schémas PES.")


def check(files: Files, pack: PackOption = "", *, as_json: AsJson = False) -> None:
    """Contrôle des fichiers sans rien importer. Rend 0 : valides, 1 : anomalies bloquantes, 2 : illisible."""
    with reporting(as_json=as_json):
        judgements = asyncio.run(_judged_all(files, compiled(pack)))
        if as_json:
            emit([told(str(path), judgement) for path, judgement in judgements])
        else:
            for path, judgement in judgements:
                _show(path, judgement)
            say(
                "Non vérifié ici : signatures (heliotrope signature verify), SIRET et budgets enregistrés pour la "
                "collectivité, doublons avec d’autres flux, antivirus, gravités et packs de votre plateforme."
            )
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
    """Compare deux versions d’un flux : pièces ajoutées, retirées, modifiées. Rend 1 si elles diffèrent."""
    with reporting(as_json=as_json):
        was, now = (_synthese(path) for path in (old, new))
        found = index_differences(was.index, now.index) | differences(was.pieces(), now.pieces())
        if as_json:
            emit(found)
        else:
            show_difference(found)
        if differ(found):
            raise typer.Exit(ExitCode.REFUSED)


def differ(found: Json) -> bool:
    """Say whether a difference holds anything."""
    return any(found.get(name) for name in ("header", "bordereaux", "added", "removed", "changed"))


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
        if domain.get("is_dematerialised"):
            show(f"{_domain(domain).capitalize()} : dématérialisée, à signer")
        for one in _listed(domain.get("bordereaux")):
            table.add_row(_domain(domain), *(str(one.get(name) or "") for name in names))
    show(table)
    totals = index.get("totals")
    if isinstance(totals, dict):
        counts = (("pieces", "pièces"), ("lignes", "lignes"), ("tiers", "tiers"), ("attachments", "PJ"))
        show(f"En tout : {', '.join(f'{totals[name]} {label}' for name, label in counts)}")
    for id_unique in _texts(index.get("missing_attachments")):
        show(f"PJ absente du fichier : {id_unique}")
    attachments = Table()
    for column in ("PJ", "Nom", "Type", "IdUnique", "Taille encodée"):
        attachments.add_column(column, overflow="fold")
    for one in _listed(index.get("attachments")):
        size = wording.size(int(str(one.get("encoded_bytes") or 0)))
        names_shown = (str(one.get(name) or "") for name in ("position", "name", "type", "id_unique"))
        attachments.add_row(*names_shown, size)
    if attachments.row_count:
        show(attachments)


def show_difference(found: Json) -> None:
    """Show a difference to a person."""
    for change in _listed(found.get("header")):
        show(f"En-tête : {_told(change, LABELS)}")
    for one in _listed(found.get("bordereaux")):
        for change in _listed(one.get("changes")):
            show(f"Bordereau {one.get('number')} ({_domain(one)}, {one.get('exercice')}) : {_told(change, FIELDS)}")
    for name, label in (("added", "Ajoutée"), ("removed", "Retirée"), ("changed", "Modifiée")):
        for piece in _listed(found.get(name)):
            amount = f", {piece['amount']} €" if piece.get("amount") else ""
            show(
                f"{label} : pièce {piece.get('number')} du bordereau {piece.get('bordereau')} "
                f"({_domain(piece)}, {piece.get('exercice')}){amount}"
            )
            for change in _listed(piece.get("changes")):
                ligne = f"ligne {change['ligne']}, " if change.get("ligne") else ""
                show(f"  {ligne}{_told(change, FIELDS)}")
    totals = found.get("totals")
    for domain, total in (totals if isinstance(totals, dict) else {}).items():
        show(f"Total {DOMAINS.get(domain, domain)} : {total['before']} → {total['after']} ({total['difference']})")
    show(f"Sans changement : {wording.count(int(str(found.get('unchanged') or 0)), 'pièce', 'pièces')}.")


def _told(change: Json, labels: Mapping[str, str]) -> str:
    field = labels.get(str(change["field"]), str(change["field"]))
    return f"{field} : {_brief(change['before'])} → {_brief(change['after'])}"


def _domain(piece: Json) -> str:
    return DOMAINS.get(str(piece.get("domain")), str(piece.get("domain")))


def _brief(value: object) -> str:
    """Say a value in one line: of a ligne its amount, of a tiers what may have changed."""
    if isinstance(value, list):
        return ", ".join(_brief(one) for one in value) or "rien"
    if isinstance(value, dict) and "name" in value:
        known = {"": value.get("name"), "n° ": value.get("id"), "IBAN ": value.get("iban"), "BIC ": value.get("bic")}
        mark = f" [{value['iban_mark']}]" if value.get("iban_mark") else ""
        return " ".join(f"{label}{one}" for label, one in known.items() if one) + mark
    if isinstance(value, dict):
        return f"{value.get('amount')} €"
    return "rien" if value is None else "oui" if value is True else "non" if value is False else str(value)


def compiled(pack: str) -> packs.CompiledPack:
    """Return the pack that an option names; the one that comes with the platform when it names none.

    Raises:
        UsageProblemError: there is no such pack, or it is none.
    """
    if not pack or pack == packs.built_in().pack_id:
        return packs.CompiledPack(packs.built_in())
    try:
        if not Path(pack).exists() and "/" not in pack:
            return packs.compile_pack(_installed(pack))
        return packs.compile_pack(packs.read_pack(Path(pack)))
    except packs.PackError as error:
        raise UsageProblemError("Ce n’est pas un pack de schémas", f"{pack} : {error}") from error
    except OSError as error:
        raise UsageProblemError("Pack de schémas illisible", f"{pack} : {reason_of(error)}.") from error


def _installed(pack_id: str) -> packs.PackFiles:
    """Return a pack of the platform, which must answer then."""
    with Api(read_client_config(environ())) as api:
        return packs.read_archive(api.download("validation", f"/v1/schemas/{quote(pack_id)}"), pack_id)


async def _judged_all(paths: Sequence[Path], pack: packs.CompiledPack) -> list[tuple[Path, Judgement]]:
    """Judge files; a large one in a process of its own, with the bounds that it has on the platform."""
    rules = Rules(packs=(pack,))
    found: list[tuple[Path, Judgement]] = []
    async with AsyncExitStack() as stack:
        pool: Pool | None = None
        for path in paths:
            try:
                size = path.stat().st_size
                if size > FILE_BYTES_MAX:
                    found.append((path, Judgement("unreadable", (too_large(size),))))
                    continue
                if size <= LARGE_BYTES:
                    found.append((path, _judged(path.read_bytes(), rules)))
                    continue
            except OSError as error:
                found.append((path, Judgement("unreadable", (missing(str(path), reason_of(error)),))))
                continue
            if pool is None:
                pool = await stack.enter_async_context(
                    aclosing(Pool(1, seconds_max=SECONDS_MAX, memory_bytes_max=MEMORY_BYTES_MAX))
                )
            found.append((path, await _judged_apart(pool, path, pack)))
    return found


def _judged(document: bytes, rules: Rules) -> Judgement:
    return judge(document, rules, collectivite=collectivite_of(document), today=datetime.now(UTC).date())


async def _judged_apart(pool: Pool, path: Path, pack: packs.CompiledPack) -> Judgement:
    with path.open("rb") as file:
        siren = collectivite_of(file.read(HEAD_BYTES))
    known = {pack.pack.digest: pack.pack_files}
    order = JudgeTask(path, siren, datetime.now(UTC).date(), (pack.pack.digest,), known=known, with_synthese=False)
    try:
        return (await pool.run(judge_file, order)).judgement
    except WorkerLostError as error:
        return Judgement("unreadable", (too_costly(str(error)),))


def _show(path: Path, judgement: Judgement) -> None:
    pack = f" (pack {judgement.pack.pack_id})" if judgement.pack else ""
    show(f"{path} : {VERDICTS[judgement.verdict]}{pack}")
    show_findings(console(), [finding.model_dump(mode="json") for finding in judgement.findings])


def _synthese(path: Path) -> Synthese:
    try:
        _, root = read_document(path.read_bytes())
    except OSError as error:
        raise UsageProblemError("Fichier illisible", f"{path} : {reason_of(error)}.") from error
    except Unreadable as error:
        raise UsageProblemError("Fichier illisible", f"{path} : {error}") from error
    if root.tag != PES_ALLER:
        raise UsageProblemError("Ce n’est pas un PES Aller", f"{path} : {wrong_root(root).message}")
    return read_synthese(root)


def _pieces(synthese: Synthese) -> list[Json]:
    return list(synthese.pieces())


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _listed(value: object) -> Sequence[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


@schemas.command("check", cls=FrenchCommand)
def check_with_schema(
    file: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier PES, ou réponse d’Hélios.")],
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


def _by_schema(path: Path, pack: packs.CompiledPack) -> Judgement:
    try:
        return judge_by_schema(path.read_bytes(), pack)
    except OSError as error:
        return Judgement("unreadable", (missing(str(path), reason_of(error)),))

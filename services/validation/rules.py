"""The controls: what a file must be before an elected official is asked to sign it.

`read_flux` reads a file once and lists every finding. Each control names its source: a paragraph of helios.md (the
dossier of facts on Hélios), which names the text or the code it comes from.

1. The bytes are XML that can be read safely (2.1).
2. The declared encoding is ISO-8859-1, and the bytes agree (2.1, control A5).
3. The root is PES_Aller (2.1).
4. There is something besides Enveloppe and EnTetePES (2.1, control A7).
5. The header says who and what: NomFic, IdPost, CodCol, CodBud (2.2, controls A8, A9, E4).
6. IdColl is a SIRET of the collectivité that imports (7.5: misrouting starts there).
7. Signatures agree with InfoDematerialisee (2.3).
8. The Ids of bordereaux are unique (3.2), and short enough to be carried.
9. There are not more bordereaux than a flux can reasonably have.

What is copied into a fact is cut: a fact is carried by the bus, and must stay small whatever the file holds.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from lxml import etree

from shared.events import Bordereau, Finding, Header, Where
from shared.pes import PES_ALLER, SIGNATURE, Prolog, UnreadableError, parse, read_prolog, value_at

FIELD_CHARACTERS_MAX = 200  # longer than any field of the header may be (2.2)
DETAIL_CHARACTERS_MAX = 50  # longer than any field of a bordereau may be (2.4)
MESSAGE_CHARACTERS_MAX = 500
ID_CHARACTERS_MAX = 100
BORDEREAUX_MAX = 1000
FINDINGS_MAX = 200
_COD_COL = re.compile(r"[0-9]{3}")
_COD_BUD = re.compile(r"[0-9A-Z][0-9]")
_ID_POST = re.compile(r"02[A-B][0-9]{3,4}|[0-9]{6,7}")
_TRUE = frozenset({"1", "true"})
_LATIN = frozenset({"ISO-8859-1", "LATIN1"})

_DOMAINS: tuple[tuple[Literal["depense", "recette"], str, str], ...] = (
    ("depense", "PES_DepenseAller", "EnTeteDepense"),
    ("recette", "PES_RecetteAller", "EnTeteRecette"),
)

_UNREADABLE = {
    "empty": ("Le fichier est vide.", "Exportez de nouveau le flux depuis le logiciel financier."),
    "not-xml": (
        "Le fichier n'est pas un document XML.",
        "Choisissez le fichier PES exporté par le logiciel financier (extension .xml).",
    ),
    "doctype": (
        "Le fichier contient une déclaration DOCTYPE, interdite dans un PES : elle peut cacher du contenu externe.",
        "Demandez à l'éditeur du logiciel financier un export sans DOCTYPE.",
    ),
    "encoding": (
        "L'encodage du fichier n'est pas accepté : un PES est encodé en ISO-8859-1.",
        "Demandez à l'éditeur du logiciel financier un export en ISO-8859-1.",
    ),
    "malformed": (
        "Le fichier est tronqué ou mal formé : sa lecture s'arrête à l'endroit indiqué.",
        "Exportez de nouveau le flux ; si l'erreur revient, transmettez ce message à l'éditeur.",
    ),
}


@dataclass(frozen=True)
class Reading:
    """What was read in one file, and what is wrong with it."""

    findings: tuple[Finding, ...] = ()
    header: Header | None = None
    bordereaux: tuple[Bordereau, ...] = ()
    attachments: int = 0
    signature_required: bool = False


def read_flux(document: bytes, collectivite: str) -> Reading:
    """Read a file and judge it. Never raises: whatever is wrong with the file is a finding.

    Args:
        document: the bytes as imported; not trusted.
        collectivite: the SIREN of the collectivité that imported them.

    Returns:
        The findings, in the order of the controls, and as much as could be read.
    """
    try:
        prolog = read_prolog(document)
        root = parse(document)
    except UnreadableError as error:
        return Reading(findings=(_unreadable(error),))
    if root.tag != PES_ALLER:
        return Reading(findings=(_wrong_root(root),))
    header = _header(root)
    bordereaux = tuple(_bordereaux(root))
    findings = (
        *_check_encoding(prolog, document),
        *_check_content(root),
        *_check_header(root, header),
        *_check_siren(root, header, collectivite),
        *_check_signatures(root),
        *_check_ids(root, bordereaux),
        *_check_count(bordereaux),
    )
    return Reading(
        findings=_bounded(findings),
        header=header,
        bordereaux=bordereaux[:BORDEREAUX_MAX],
        attachments=len(root.findall("PES_PJ/PJ")),
        # A signature that is there although none is asked for must hold all the same (control A11).
        signature_required=any(_is_dematerialised(root, domain, top) for _, domain, top in _DOMAINS)
        or next(root.iter(SIGNATURE), None) is not None,
    )


def _unreadable(error: UnreadableError) -> Finding:
    message, what_next = _UNREADABLE[error.code]
    if error.code == "malformed":
        message = f"{message} ({str(error)[:MESSAGE_CHARACTERS_MAX]})"
    return Finding(
        source="reader",
        code=f"reader.{error.code}",
        severity="blocking",
        message=message,
        where=Where(line=error.line, column=error.column),
        who="éditeur",
        next=what_next,
    )


def _wrong_root(root: etree._Element) -> Finding:
    name = etree.QName(root)
    found = name.localname[:FIELD_CHARACTERS_MAX]
    if found == etree.QName(PES_ALLER).localname:
        found += f", dans un espace de noms inconnu ({(name.namespace or 'aucun')[:FIELD_CHARACTERS_MAX]})"
    return Finding(
        source="control",
        code="pes.root",
        severity="blocking",
        message=f"Ce document n'est pas un PES Aller : sa racine est {found}.",
        where=Where(element=name.localname[:FIELD_CHARACTERS_MAX], line=root.sourceline),
        who="ordonnateur",
        next="Choisissez le flux PES Aller exporté par le logiciel financier (racine PES_Aller).",
    )


def _header(root: etree._Element) -> Header:
    def at(path: str) -> str:
        return value_at(root, path)[:FIELD_CHARACTERS_MAX]

    return Header(
        nomfic=at("Enveloppe/Parametres/NomFic"),
        typfic=at("Enveloppe/Parametres/TypFic"),
        id_post=at("EnTetePES/IdPost"),
        id_coll=at("EnTetePES/IdColl"),
        cod_col=at("EnTetePES/CodCol"),
        cod_bud=at("EnTetePES/CodBud"),
        emitted_on=at("EnTetePES/DteStr"),
        label=at("EnTetePES/LibelleColBud"),
        emitter=at("Enveloppe/Emetteur/Sigle"),
    )


def _bordereaux(root: etree._Element) -> Iterator[Bordereau]:
    for domain, block, _ in _DOMAINS:
        for element in root.iterfind(f"{block}/Bordereau"):
            bloc = element.find("BlocBordereau")
            yield Bordereau(
                domain=domain,
                exercice=value_at(bloc, "Exer")[:DETAIL_CHARACTERS_MAX],
                number=value_at(bloc, "IdBord")[:DETAIL_CHARACTERS_MAX],
                type=value_at(bloc, "TypBord")[:DETAIL_CHARACTERS_MAX],
                pieces=len(element.findall("Piece")),
                # The schemas spell it MtBordHT in dépense and MtBordHt in recette (2.4).
                amount=_amount(
                    value_at(element, "BlocBordereau/MtBordHT") or value_at(element, "BlocBordereau/MtBordHt")
                ),
                element_id=element.get("Id", "")[:ID_CHARACTERS_MAX],
                is_signed=element.find(SIGNATURE) is not None,
            )


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text[:DETAIL_CHARACTERS_MAX])
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _is_dematerialised(root: etree._Element, block: str, top: str) -> bool:
    return value_at(root, f"{block}/{top}/InfoDematerialisee") in _TRUE


def _check_encoding(prolog: Prolog, document: bytes) -> Iterator[Finding]:
    if prolog.declared in _LATIN and not prolog.bom:
        return
    said = (prolog.declared or prolog.bom or "aucun encodage")[:DETAIL_CHARACTERS_MAX]
    # Pure ASCII is the same bytes in ISO-8859-1: nothing can be misread, so the flux may go on (docs/divergences.md).
    is_harmless = document.isascii()
    yield Finding(
        source="control",
        code="pes.encoding",
        severity="warning" if is_harmless else "blocking",
        message=f"Le fichier annonce {said} ; un PES doit annoncer et employer ISO-8859-1."
        + (" Ses caractères sont tous communs aux deux : il reste lisible." if is_harmless else ""),
        where=Where(line=1, column=1),
        who="éditeur",
        next="Demandez à l'éditeur du logiciel financier un export en ISO-8859-1.",
    )


def _check_content(root: etree._Element) -> Iterator[Finding]:
    if any(isinstance(child.tag, str) and child.tag not in ("Enveloppe", "EnTetePES", SIGNATURE) for child in root):
        return
    yield Finding(
        source="control",
        code="pes.empty",
        severity="blocking",
        message="Le flux ne contient ni dépense, ni recette, ni pièce jointe : Hélios n'y répondrait jamais.",
        where=_where(root),
        who="ordonnateur",
        next="Vérifiez la sélection des bordereaux dans le logiciel financier, puis exportez de nouveau.",
    )


def _check_header(root: etree._Element, header: Header) -> Iterator[Finding]:
    rules = (
        ("Enveloppe/Parametres/NomFic", header.nomfic, re.compile(r".{1,100}"), "1 à 100 caractères"),
        ("EnTetePES/IdPost", header.id_post, _ID_POST, "le codique du poste comptable, 6 ou 7 caractères"),
        ("EnTetePES/CodCol", header.cod_col, _COD_COL, "3 chiffres"),
        ("EnTetePES/CodBud", header.cod_bud, _COD_BUD, "2 caractères"),
    )
    for path, value, pattern, expected in rules:
        is_absent = not value.strip("0") and path != "EnTetePES/CodBud"
        if not is_absent and pattern.fullmatch(value):
            continue
        name = path.rsplit("/", 1)[-1]
        found = f"vaut « {value} »" if value else "est absent"
        yield Finding(
            source="control",
            code=f"pes.header.{name}",
            severity="blocking",
            message=f"{name} {found} ; il est attendu : {expected}.",
            where=_where(root, path),
            who="ordonnateur",
            next=f"Corrigez {name} dans le paramétrage du logiciel financier, puis exportez de nouveau.",
        )


def _check_siren(root: etree._Element, header: Header, collectivite: str) -> Iterator[Finding]:
    if not header.id_coll or header.id_coll[:9] == collectivite:
        return
    yield Finding(
        source="control",
        code="pes.siren",
        severity="warning",
        message=f"Le SIRET du fichier ({header.id_coll}) n'est pas de la collectivité {collectivite} qui l'importe.",
        where=_where(root, "EnTetePES/IdColl"),
        who="ordonnateur",
        next="Vérifiez que ce flux est bien celui de votre collectivité ; sinon annulez-le.",
    )


def _check_signatures(root: etree._Element) -> Iterator[Finding]:
    for _, block, top in _DOMAINS:
        if root.find(block) is None or _is_dematerialised(root, block, top):
            continue
        if root.find(f"{block}/Bordereau/{SIGNATURE}") is None:
            continue
        yield Finding(
            source="control",
            code="pes.signature-unexpected",
            severity="blocking",
            message=f"{block} est signé alors que InfoDematerialisee ne vaut pas 1 : Hélios rejette ce flux.",
            where=_where(root, f"{block}/{top}"),
            who="éditeur",
            next="Exportez de nouveau avec InfoDematerialisee à 1, ou sans signature.",
        )


def _check_ids(root: etree._Element, bordereaux: tuple[Bordereau, ...]) -> Iterator[Finding]:
    counts = Counter(bordereau.element_id for bordereau in bordereaux if bordereau.element_id)
    for element_id, count in counts.items():
        if count > 1:
            yield Finding(
                source="control",
                code="pes.duplicate-id",
                severity="blocking",
                message=f"{count} bordereaux portent le même Id {element_id} : leur signature serait ambiguë.",
                where=Where(element="Bordereau", bordereau=element_id),
                who="éditeur",
                next="Demandez à l'éditeur un export où chaque bordereau a son propre Id.",
            )
    for element in (root, *root.iterfind("*/Bordereau")):
        if len(element.get("Id", "")) > ID_CHARACTERS_MAX:
            yield Finding(
                source="control",
                code="pes.id-too-long",
                severity="blocking",
                message=f"Un attribut Id dépasse {ID_CHARACTERS_MAX} caractères : il ne peut pas être signé ainsi.",
                where=Where(element=str(element.tag)[-ID_CHARACTERS_MAX:], line=element.sourceline),
                who="éditeur",
                next="Demandez à l'éditeur un export avec des Id courts.",
            )


def _check_count(bordereaux: tuple[Bordereau, ...]) -> Iterator[Finding]:
    if len(bordereaux) <= BORDEREAUX_MAX:
        return
    yield Finding(
        source="control",
        code="pes.too-many-bordereaux",
        severity="blocking",
        message=f"Le flux contient {len(bordereaux)} bordereaux ; la plateforme en accepte {BORDEREAUX_MAX} au plus.",
        where=Where(element="Bordereau"),
        who="ordonnateur",
        next="Répartissez les bordereaux sur plusieurs flux.",
    )


def _bounded(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Keep so many findings, the blocking ones first, and say how many more there are."""
    if len(findings) <= FINDINGS_MAX:
        return findings
    kept = sorted(findings, key=lambda finding: finding.severity != "blocking")[: FINDINGS_MAX - 1]
    rest = Finding(
        source="control",
        code="pes.more-findings",
        severity="warning",
        message=f"Et {len(findings) - len(kept)} autres anomalies, non détaillées.",
        where=Where(),
        who="éditeur",
        next="Corrigez d'abord celles qui sont détaillées, puis importez le nouvel export.",
    )
    return (*kept, rest)


def _where(root: etree._Element, path: str = "") -> Where:
    """Return the place of the element at a path, or of the nearest one above it that exists."""
    element = root
    for step in path.split("/") if path else ():
        found = element.find(step)
        if found is None:
            break
        element = found
    return Where(element=path or "PES_Aller", line=element.sourceline)

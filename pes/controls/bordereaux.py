"""Controls about bordereaux, pièces and lignes: what the schemas cannot say (helios.md 2.3, 2.4). In `controls`."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from lxml import etree

from pes.controls.control import Hit
from pes.controls.document import day, nearest, shown
from pes.numbers import AMOUNT_CHARACTERS_MAX, amount, number_of, year_of
from pes.reading.aller import Aller, column, count, elements
from pes.reading.domains import ORMC
from pes.reading.xml import value_at

_WITH_ACCOUNT = ("03", "05")  # virement, virement gros montant
_LIGNES = "Piece/LigneDePiece"


def same_bordereau(aller: Aller) -> Iterator[Hit]:
    """No bordereau is twice in the file: IdBord is unique for an exercice and a type."""
    for block in aller.blocks:
        by_key: dict[tuple[str, ...], list[etree._Element]] = defaultdict(list)
        for bordereau in block.bordereaux:
            bloc = bordereau.find("BlocBordereau")
            number = number_of(value_at(bloc, "IdBord"))
            if number:
                by_key[year_of(value_at(bloc, "Exer")), value_at(bloc, "TypBord"), number].append(bordereau)
        for (exercice, kind, number), found in by_key.items():
            if len(found) > 1:
                message = (
                    f"{len(found)} bordereaux de type {kind[:2]} de {exercice[:4]} portent le numéro {number[:7]}."
                )
                yield Hit(found[1], message)


def bordereau_type(aller: Aller) -> Iterator[Hit]:
    """TypBord is one of those that may be sent."""
    for block, bordereau in aller.bordereaux():
        value = value_at(bordereau, "BlocBordereau/TypBord")
        if value not in block.domain.types:
            expected = ", ".join(sorted(block.domain.types))
            yield _hit(bordereau, "TypBord", f"TypBord vaut {shown(value)} ; les valeurs admises sont {expected}.")


def number_of_pieces(aller: Aller) -> Iterator[Hit]:
    """NbrPce is the number of pièces."""
    for _, bordereau in aller.bordereaux():
        value = value_at(bordereau, "BlocBordereau/NbrPce")
        pieces = count(bordereau, "Piece")
        if number_of(value) != str(pieces):
            message = f"NbrPce vaut {shown(value)} ; le bordereau contient {pieces} pièce{'s' if pieces > 1 else ''}."
            yield _hit(bordereau, "NbrPce", message)


def total(aller: Aller) -> Iterator[Hit]:
    """The lignes come to the total of their bordereau."""
    for block, bordereau in aller.bordereaux():
        declared = amount(value_at(bordereau, f"BlocBordereau/{block.domain.amount}"))
        came_to = _sum(column(bordereau, f"{_LIGNES}/{block.domain.ligne}/MtHT/@V"))
        if declared is None or came_to is None or declared == came_to:
            continue
        message = f"{block.domain.amount} vaut {declared} ; les lignes du bordereau font {came_to} au total."
        yield _hit(bordereau, block.domain.amount, message)


def cumulative(aller: Aller) -> Iterator[Hit]:
    """MtCumulAnnuel is there and positive in a dematerialised bordereau, unless it is an ORMC."""
    for block, bordereau in aller.bordereaux():
        if not block.is_dematerialised or value_at(bordereau, "BlocBordereau/TypBord") == ORMC:
            continue
        value = value_at(bordereau, "BlocBordereau/MtCumulAnnuel")
        if not (amount(value) or 0) > 0:
            found = f"vaut {shown(value)}" if value else "est absent"
            message = f"MtCumulAnnuel {found} ; il doit dépasser zéro quand InfoDematerialisee vaut 1."
            yield _hit(bordereau, "MtCumulAnnuel", message)


def vat(aller: Aller) -> Iterator[Hit]:
    """MtBordTVA and the MtTVA of the lignes are both there, or neither."""
    for block, bordereau in aller.bordereaux():
        whole = (amount(value_at(bordereau, "BlocBordereau/MtBordTVA")) or 0) > 0
        parts = any((amount(one) or 0) > 0 for one in column(bordereau, f"{_LIGNES}/{block.domain.ligne}/MtTVA/@V"))
        if whole and not parts:
            yield _hit(
                bordereau, "MtBordTVA", "MtBordTVA est servi, mais aucune ligne n’a de MtTVA supérieur à zéro."
            )
        if parts and not whole:
            yield _hit(bordereau, "MtBordTVA", "Une ligne a un MtTVA, mais MtBordTVA est absent ou nul.")


def emitted_in_exercice(aller: Aller) -> Iterator[Hit]:
    """DteBordEm lies in the exercice, or in the January after it (journée complémentaire)."""
    for _, bordereau in aller.bordereaux():
        exercice = value_at(bordereau, "BlocBordereau/Exer")[:4]
        emitted_on = day(value_at(bordereau, "BlocBordereau/DteBordEm"))
        if emitted_on is None or not (exercice.isascii() and exercice.isdigit() and 1 <= int(exercice) <= 9998):
            continue
        if not date(int(exercice), 1, 1) <= emitted_on <= date(int(exercice) + 1, 1, 31):
            message = f"DteBordEm vaut {emitted_on.isoformat()}, hors de l’exercice {exercice}."
            yield _hit(bordereau, "DteBordEm", message)


def same_piece(aller: Aller) -> Iterator[Hit]:
    """No IdPce is twice in a bordereau."""
    for block, bordereau in aller.bordereaux():
        for element in _repeated(bordereau, f"Piece/{block.domain.piece}/IdPce"):
            yield Hit(element, f"Deux pièces du bordereau portent le numéro {shown(element.get('V', ''))}.")


def same_ligne(aller: Aller) -> Iterator[Hit]:
    """No IdLigne is twice in a pièce."""
    for block in aller.blocks:
        for piece in block.elements("Bordereau/Piece[LigneDePiece[2]]"):
            for element in _repeated(piece, f"LigneDePiece/{block.domain.ligne}/IdLigne"):
                yield Hit(element, f"Deux lignes de la pièce portent le numéro {shown(element.get('V', ''))}.")


def only_in_replies(aller: Aller) -> Iterator[Hit]:
    """No pièce has a type that only DGFiP uses, to ask for one."""
    for block in aller.blocks:
        kind = block.domain.only_in_replies
        for element in block.elements(f"{{piece}}/TypPce[@V='{kind}']"):
            yield Hit(element, f"TypPce vaut {kind} : ce type ne sert qu’à la DGFiP, pour demander une pièce.")


def no_account(aller: Aller) -> Iterator[Hit]:
    """A ligne that is paid by transfer says to which account."""
    kinds = " or ".join(f"@V='{kind}'" for kind in _WITH_ACCOUNT)
    for block in aller.blocks:
        without = "Bordereau/Piece/LigneDePiece[not(Tiers/CpteBancaire)]"
        for element in block.elements(f"{without}/{block.domain.ligne}/ModRegl[{kinds}]"):
            message = f"ModRegl vaut {element.get('V', '')[:2]} (virement), mais le tiers n’a pas de CpteBancaire."
            yield Hit(element, message)


def _sum(texts: Sequence[str]) -> Decimal | None:
    """Return what amounts come to; none when there is none, or one is not an amount."""
    if not texts or any(len(text) > AMOUNT_CHARACTERS_MAX for text in texts):
        return None
    try:
        came_to = sum(map(Decimal, texts), Decimal(0))
    except InvalidOperation:
        return None
    return came_to if came_to.is_finite() else None


def _repeated(element: etree._Element, path: str) -> Iterator[etree._Element]:
    """Yield the elements at a path whose number an earlier one has; "02" is 2."""
    numbers = column(element, f"{path}/@V")
    if len(set(numbers)) == len(numbers):
        return
    seen: dict[str, int] = Counter()
    for one in elements(element, path):
        number = number_of(one.get("V", ""))
        seen[number] += 1
        if seen[number] == 2:
            yield one


def _hit(bordereau: etree._Element, name: str, message: str) -> Hit:
    return Hit(nearest(bordereau, f"BlocBordereau/{name}"), message)

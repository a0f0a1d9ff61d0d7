"""The synthèse: what a PES Aller contains, as JSON that people and programs read instead of the PES.

An index (who, what, how much, which attachments) and pages of pièces. Amounts are exact decimals, written as text. A
field that is absent from the PES is null. A number of social security is never shown, nor the middle of an IBAN. The
fields and their meaning are in `docs/synthese.md`; names follow helios.md 2.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from lxml import etree

from pes.numbers import amount
from pes.reading.contents import header_of
from pes.reading.domains import DOMAINS, Domain
from pes.reading.privacy import MASK, NIR, masked_iban
from pes.reading.xml import SIGNATURE

FORMAT = "heliotrope.synthese/1"
PAGE_PIECES = 200
PAGE_LIGNES = 2000  # of a page, and of one pièce; what is left out is counted
FIELD_CHARACTERS_MAX = 500
REFERENCES_MAX = 100
ATTACHMENTS_MAX = 10_000  # in the index; pièces name theirs all the same
TIERS_MAX = 100  # of one ligne
_OTHER_DOMAINS = {"facture": "PES_Facture", "marche": "PES_Marche"}
_WHO = ("id", "reference", "name", "first_name")
_TRUE = frozenset({"1", "true"})

Json = dict[str, object]


@dataclass(frozen=True)
class Synthese:
    """The index, and the pages: JSON lists of pièces, in the order of the document, each of a bounded size."""

    index: Json
    pages: tuple[bytes, ...]

    def pieces(self) -> Iterator[Json]:
        """Yield every pièce."""
        for page in self.pages:
            yield from json.loads(page)


def read_synthese(root: etree._Element, encoded_bytes: Sequence[int] = ()) -> Synthese:
    """Read a PES_Aller into its synthèse. Never raises: what cannot be read is null.

    Args:
        root: the tree.
        encoded_bytes: how long the text of each Fichier was, when the tree no longer holds it.
    """
    seen = _Seen({_at(one, "IdUnique") for one in root.iterfind("PES_PJ/PJ")} - {None})
    domains: list[Json] = []
    for domain in DOMAINS:
        block = root.find(domain.element)
        if block is not None:
            domains.append(_domain(domain, block, seen))
    domains.extend(_other_domains(root))
    seen.end_page()
    index: Json = {
        "format": FORMAT,
        "header": _header(root),
        "domains": domains,
        "totals": {
            "bordereaux": sum(len(_list(domain, "bordereaux")) for domain in domains),
            "pieces": seen.pieces,
            "lignes": seen.lignes,
            "tiers": len(seen.tiers),
            "attachments": len(root.findall("PES_PJ/PJ")),
            "amounts": {name: _written(amount) for name, amount in seen.amounts.items()},
        },
        "attachments": _attachments(root, seen, encoded_bytes),
        "missing_attachments": list(seen.missing),
        "page_pieces": PAGE_PIECES,
        "pieces_total": seen.pieces,
    }
    return Synthese(index, tuple(seen.pages))


def to_json(value: object) -> bytes:
    """Return the JSON that documents beside a PES are made of: UTF-8, compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class _Seen:
    """What the pièces come to. Each is written as soon as it is read: a large flux is never held as a whole."""

    def __init__(self, enclosed: set[str | None]) -> None:
        self.pages: list[bytes] = []
        self.pieces = 0
        self.lignes = 0
        self.amounts: dict[str, Decimal] = {}
        self.tiers: set[tuple[object, ...]] = set()
        self.referred: dict[str, list[Json]] = {}
        self.missing: dict[str, None] = {}
        self._enclosed = enclosed
        self._page: list[Json] = []
        self._lignes_in_page = 0

    def add(self, piece: Json, amount: Decimal) -> None:
        """Take a pièce, whose lignes were taken one by one (`refer`)."""
        self.pieces += 1
        self.amounts[str(piece["domain"])] = self.amounts.get(str(piece["domain"]), Decimal(0)) + amount
        self._page.append(piece)
        self._lignes_in_page += len(_list(piece, "lignes"))
        if len(self._page) == PAGE_PIECES or self._lignes_in_page >= PAGE_LIGNES:
            self.end_page()

    def end_page(self) -> None:
        """Write what was read since the last page."""
        if self._page:
            self.pages.append(to_json(self._page))
        self._page, self._lignes_in_page = [], 0

    def refer(self, ids: Sequence[str], place: Json) -> None:
        """Take the references of a pièce or of a ligne."""
        for id_unique in ids:
            if id_unique in self._enclosed:
                places = self.referred.setdefault(id_unique, [])
                if len(places) < REFERENCES_MAX:
                    places.append(place)
            elif len(self.missing) < ATTACHMENTS_MAX:
                self.missing[id_unique] = None


def _header(root: etree._Element) -> Json:
    header = header_of(root).model_dump()
    return {name: value or None for name, value in header.items()} | {
        "label_post": _at(root, "EnTetePES/LibellePoste"),
        "application": _at(root, "Enveloppe/Emetteur/Adresse"),
        "element_id": (root.get("Id") or "")[:FIELD_CHARACTERS_MAX] or None,
        "is_signed": root.find(SIGNATURE) is not None,
    }


def _domain(domain: Domain, block: etree._Element, seen: _Seen) -> Json:
    bordereaux = [
        _bordereau(domain, element, position, seen)
        for position, element in enumerate(block.iterfind("Bordereau"), start=1)
    ]
    said = _at(block, f"{domain.header}/InfoDematerialisee")
    return {"domain": domain.name, "is_dematerialised": said in _TRUE, "bordereaux": bordereaux}


def _bordereau(domain: Domain, element: etree._Element, position: int, seen: _Seen) -> Json:
    bloc = element.find("BlocBordereau")
    pieces, lignes = seen.pieces, seen.lignes
    total = sum((_piece(domain, bloc, piece, seen) for piece in element.iterfind("Piece")), Decimal(0))
    return {
        "position": position,
        "exercice": _at(bloc, "Exer"),
        "number": _at(bloc, "IdBord"),
        "type": _at(bloc, "TypBord"),
        "emitted_on": _at(bloc, "DteBordEm"),
        "element_id": (element.get("Id") or "")[:FIELD_CHARACTERS_MAX] or None,
        "is_signed": element.find(SIGNATURE) is not None,
        "pieces_declared": _at(bloc, "NbrPce"),
        "pieces": seen.pieces - pieces,
        "lignes": seen.lignes - lignes,
        "amount": _amount(bloc, domain.amount),
        "vat": _amount(bloc, "MtBordTVA"),
        "cumulative": _amount(bloc, "MtCumulAnnuel"),
        "lignes_total": _written(total),
    }


def _piece(domain: Domain, bloc: etree._Element | None, element: etree._Element, seen: _Seen) -> Decimal:
    """Take a pièce, and return what its lignes come to."""
    info = element.find(domain.piece)
    place: Json = {
        "domain": domain.name,
        "exercice": _at(bloc, "Exer"),
        "bordereau": _at(bloc, "IdBord"),
        "bordereau_type": _at(bloc, "TypBord"),
        "number": _at(info, "IdPce"),
    }
    total = Decimal(0)
    shown: list[Json] = []
    lignes = 0
    for lignes, one in enumerate(element.iterfind("LigneDePiece"), start=1):
        ligne = _ligne(domain, one, place, seen)
        total += Decimal(str(ligne["amount"] or 0))
        if lignes <= PAGE_LIGNES:
            shown.append(ligne)
    seen.lignes += lignes
    attachments = _referred(info)
    seen.refer(attachments, place | {"ligne": None})
    piece = place | {
        "type": _at(info, "TypPce"),
        "nature": _at(info, "NatPce"),
        "object": _at(info, "Obj") or _at(info, "ObjPce"),
        "amount": _written(total),
        "lignes": shown,
        "lignes_left_out": lignes - len(shown),
        "attachments": attachments,
    }
    seen.add(piece, total)
    return total


def _ligne(domain: Domain, element: etree._Element, place: Json, seen: _Seen) -> Json:
    info = element.find(domain.ligne)
    number, attachments = _at(info, "IdLigne"), _referred(info)
    seen.refer(attachments, place | {"ligne": number})
    tiers = [_tiers(one) for _, one in zip(range(TIERS_MAX), element.iterfind("Tiers"), strict=False)]
    seen.tiers.update(tuple(one[name] for name in _WHO) for one in tiers)
    labels = [text for name in ("LibVir1", "LibVir2") if (text := _at(info, name))]
    return {
        "number": number,
        "nature": _at(info, "Nature"),
        "fonction": _at(info, "Fonction"),
        "operation": _at(info, "Operation"),
        "amount": _amount(info, "MtHT"),
        "vat": _amount(info, "MtTVA"),
        "label": " ".join(labels) or None,
        "payment": _at(info, "ModRegl"),
        "tiers": tiers,
        "attachments": attachments,
    }


def _tiers(element: etree._Element) -> Json:
    info, address, account = (element.find(name) for name in ("InfoTiers", "Adresse", "CpteBancaire"))
    kind = _at(info, "NatIdTiers")
    identifier = _at(info, "IdTiers")
    iban = _at(account, "IBAN")
    return {
        "id": MASK if kind == NIR and identifier else identifier,
        "id_kind": kind,
        "reference": _at(info, "RefTiers"),
        "name": _at(info, "Nom"),
        "first_name": _at(info, "Prenom"),
        "town": _at(address, "Ville"),
        "country": _at(address, "CodPays"),
        "iban": iban and masked_iban(iban),
        # So that a change in what is masked is seen: eight digits of its SHA-256.
        "iban_mark": hashlib.sha256(iban.encode()).hexdigest()[:8] if iban else None,
        "bic": _at(account, "BIC"),
    }


def _other_domains(root: etree._Element) -> Iterator[Json]:
    for name, element in _OTHER_DOMAINS.items():
        found = root.findall(element)
        if found:
            kinds = Counter(str(child.tag) for block in found for child in block.iter(etree.Element))
            yield {"domain": name, "elements": dict(kinds.most_common(50))}


def _attachments(root: etree._Element, seen: _Seen, encoded_bytes: Sequence[int]) -> list[Json]:
    lengths = iter(encoded_bytes)
    numbered = enumerate(root.iterfind("PES_PJ/PJ"), start=1)
    return [_attachment(position, one, seen.referred, lengths) for position, one in islice(numbered, ATTACHMENTS_MAX)]


def _attachment(
    position: int, element: etree._Element, referred: dict[str, list[Json]], lengths: Iterator[int]
) -> Json:
    file = element.find("Contenu/Fichier")
    id_unique = _at(element, "IdUnique")
    return {
        "position": position,
        "id_unique": id_unique,
        "name": _at(element, "NomPJ"),
        "type": _at(element, "TypePJ"),
        "mime": (file.get("MIMEType") or "")[:FIELD_CHARACTERS_MAX] or None if file is not None else None,
        "encoded_bytes": next(lengths, len(file.text or "")) if file is not None else 0,
        "description": _at(element, "Description"),
        "referenced_by": referred.get(id_unique or "", []),
        "references": [
            {name: _at(one, name) for name in ("Domaine", "Exercice", "TypeObjet", "Identifiant")}
            for _, one in zip(range(REFERENCES_MAX), element.iterfind("RefCompta"), strict=False)
        ],
    }


def _referred(info: etree._Element | None) -> list[str]:
    found = [] if info is None else (_at(one, "IdUnique") for one in info.iterfind("PJRef"))
    return [one for one in found if one]


def _at(element: etree._Element | None, path: str) -> str | None:
    """Return the V at a path, cut at a bound, or null when there is none."""
    found = None if element is None else element.find(path)
    return None if found is None else (found.get("V") or "").strip()[:FIELD_CHARACTERS_MAX] or None


def _amount(element: etree._Element | None, path: str) -> str | None:
    found = amount(_at(element, path) or "")
    return None if found is None else _written(found)


def _written(value: Decimal) -> str:
    """Write an amount with at least two decimals, and never with an exponent."""
    exponent = value.as_tuple().exponent
    places = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{value:.{places}f}"


def _list(holder: Json, name: str) -> list[object]:
    found = holder.get(name)
    return found if isinstance(found, list) else []

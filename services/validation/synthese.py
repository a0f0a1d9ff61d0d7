"""The synthèse: what a PES Aller contains, as JSON that people and programs read instead of the PES.

An index (who, what, how much, which attachments) and pages of pièces. Amounts are exact decimals, written as text. A
field that is absent from the PES is null. A number of social security is never shown, nor the middle of an IBAN. The
fields and their meaning are in `docs/synthese.md`; names follow helios.md 2.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lxml import etree

from services.validation.contents import header_of
from services.validation.domains import DOMAINS, Domain
from services.validation.privacy import MASK, NIR, masked_iban
from services.validation.rules_bordereaux import amount
from shared.pes import SIGNATURE

FORMAT = "heliotrope.synthese/1"
PAGE_PIECES = 200
FIELD_CHARACTERS_MAX = 500
ATTACHMENTS_MAX = 10_000  # in the index; pièces name theirs all the same
TIERS_MAX = 100  # of one ligne
_OTHER_DOMAINS = {"facture": "PES_Facture", "marche": "PES_Marche"}
_TRUE = frozenset({"1", "true"})

Json = dict[str, object]


@dataclass(frozen=True)
class Synthese:
    """The index, and the pièces of all domains in the order of the document, `PAGE_PIECES` to a page."""

    index: Json
    pages: tuple[tuple[Json, ...], ...]


def read_synthese(root: etree._Element, encoded_bytes: Sequence[int] = ()) -> Synthese:
    """Read a PES_Aller into its synthèse. Never raises: what cannot be read is null.

    Args:
        root: the tree.
        encoded_bytes: how long the text of each Fichier was, when the tree no longer holds it.
    """
    domains: list[Json] = []
    pieces: list[Json] = []
    for domain in DOMAINS:
        block = root.find(domain.element)
        if block is not None:
            domains.append(_domain(domain, block, pieces))
    domains.extend(_other_domains(root))
    index: Json = {
        "format": FORMAT,
        "header": _header(root),
        "domains": domains,
        "totals": _totals(root, domains, pieces),
        **_attachments(root, pieces, encoded_bytes),
        "page_pieces": PAGE_PIECES,
        "pieces_total": len(pieces),
    }
    starts = range(0, len(pieces), PAGE_PIECES)
    return Synthese(index, tuple(tuple(pieces[start : start + PAGE_PIECES]) for start in starts))


def _header(root: etree._Element) -> Json:
    header = header_of(root).model_dump()
    return {name: value or None for name, value in header.items()} | {
        "label_post": _at(root, "EnTetePES/LibellePoste"),
        "application": _at(root, "Enveloppe/Emetteur/Adresse"),
        "element_id": (root.get("Id") or "")[:FIELD_CHARACTERS_MAX] or None,
        "is_signed": root.find(SIGNATURE) is not None,
    }


def _domain(domain: Domain, block: etree._Element, pieces: list[Json]) -> Json:
    bordereaux: list[Json] = []
    for position, element in enumerate(block.iterfind("Bordereau"), start=1):
        own = list(_pieces(domain, element))
        pieces.extend(own)
        bordereaux.append(_bordereau(domain, element, position, own))
    said = _at(block, f"{domain.header}/InfoDematerialisee")
    return {"domain": domain.name, "is_dematerialised": said in _TRUE, "bordereaux": bordereaux}


def _bordereau(domain: Domain, element: etree._Element, position: int, pieces: list[Json]) -> Json:
    bloc = element.find("BlocBordereau")
    return {
        "position": position,
        "exercice": _at(bloc, "Exer"),
        "number": _at(bloc, "IdBord"),
        "type": _at(bloc, "TypBord"),
        "emitted_on": _at(bloc, "DteBordEm"),
        "element_id": (element.get("Id") or "")[:FIELD_CHARACTERS_MAX] or None,
        "is_signed": element.find(SIGNATURE) is not None,
        "pieces_declared": _at(bloc, "NbrPce"),
        "pieces": len(pieces),
        "lignes": sum(len(_list(piece, "lignes")) for piece in pieces),
        "amount": _amount(bloc, domain.amount),
        "vat": _amount(bloc, "MtBordTVA"),
        "cumulative": _amount(bloc, "MtCumulAnnuel"),
        "lignes_total": _sum(piece["amount"] for piece in pieces),
    }


def _pieces(domain: Domain, bordereau: etree._Element) -> Iterator[Json]:
    bloc = bordereau.find("BlocBordereau")
    place: Json = {
        "domain": domain.name,
        "exercice": _at(bloc, "Exer"),
        "bordereau": _at(bloc, "IdBord"),
        "bordereau_type": _at(bloc, "TypBord"),
    }
    for element in bordereau.iterfind("Piece"):
        info = element.find(domain.piece)
        lignes = [_ligne(domain, one) for one in element.iterfind("LigneDePiece")]
        yield place | {
            "number": _at(info, "IdPce"),
            "type": _at(info, "TypPce"),
            "nature": _at(info, "NatPce"),
            "object": _at(info, "Obj") or _at(info, "ObjPce"),
            "amount": _sum(ligne["amount"] for ligne in lignes),
            "lignes": lignes,
            "attachments": _referred(info),
        }


def _ligne(domain: Domain, element: etree._Element) -> Json:
    info = element.find(domain.ligne)
    labels = [text for name in ("LibVir1", "LibVir2") if (text := _at(info, name))]
    return {
        "number": _at(info, "IdLigne"),
        "nature": _at(info, "Nature"),
        "fonction": _at(info, "Fonction"),
        "operation": _at(info, "Operation"),
        "amount": _amount(info, "MtHT"),
        "vat": _amount(info, "MtTVA"),
        "label": " ".join(labels) or None,
        "payment": _at(info, "ModRegl"),
        "tiers": [_tiers(one) for _, one in zip(range(TIERS_MAX), element.iterfind("Tiers"), strict=False)],
        "attachments": _referred(info),
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
        "bic": _at(account, "BIC"),
    }


def _other_domains(root: etree._Element) -> Iterator[Json]:
    for name, element in _OTHER_DOMAINS.items():
        found = root.findall(element)
        if found:
            kinds = Counter(str(child.tag) for block in found for child in block.iter(etree.Element))
            yield {"domain": name, "elements": dict(kinds.most_common(50))}


def _attachments(root: etree._Element, pieces: list[Json], encoded_bytes: Sequence[int]) -> Json:
    referred: dict[str, list[Json]] = {}
    for piece in pieces:
        place = {name: piece[name] for name in ("domain", "exercice", "bordereau", "bordereau_type", "number")}
        for id_unique in _list(piece, "attachments"):
            referred.setdefault(str(id_unique), []).append(place | {"ligne": None})
        for ligne in _list(piece, "lignes"):
            if isinstance(ligne, dict):
                for id_unique in _list(ligne, "attachments"):
                    referred.setdefault(str(id_unique), []).append(place | {"ligne": ligne["number"]})
    lengths = iter(encoded_bytes)
    shown = [
        _attachment(position, one, referred, lengths)
        for position, one in enumerate(root.iterfind("PES_PJ/PJ"), start=1)
        if position <= ATTACHMENTS_MAX
    ]
    enclosed = {_at(one, "IdUnique") for one in root.iterfind("PES_PJ/PJ")}
    missing = [id_unique for id_unique in referred if id_unique not in enclosed]
    return {"attachments": shown, "missing_attachments": missing[:ATTACHMENTS_MAX]}


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
        "referenced_by": referred.get(id_unique or "", [])[:100],
        "references": [
            {name: _at(one, name) for name in ("Domaine", "Exercice", "TypeObjet", "Identifiant")}
            for _, one in zip(range(100), element.iterfind("RefCompta"), strict=False)
        ],
    }


def _totals(root: etree._Element, domains: list[Json], pieces: list[Json]) -> Json:
    lignes = [ligne for piece in pieces for ligne in _list(piece, "lignes") if isinstance(ligne, dict)]
    names = ("id", "reference", "name", "first_name")
    tiers = {
        tuple(one[name] for name in names)
        for ligne in lignes
        for one in _list(ligne, "tiers")
        if isinstance(one, dict)
    }
    amounts = {
        str(domain["domain"]): _sum(
            one["lignes_total"] for one in _list(domain, "bordereaux") if isinstance(one, dict)
        )
        for domain in domains
        if "bordereaux" in domain
    }
    return {
        "bordereaux": sum(len(_list(domain, "bordereaux")) for domain in domains),
        "pieces": len(pieces),
        "lignes": len(lignes),
        "tiers": len(tiers),
        "attachments": len(root.findall("PES_PJ/PJ")),
        "amounts": amounts,
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


def _sum(texts: Iterable[object]) -> str:
    """Return what amounts come to, exactly; those that are null count for nothing."""
    return _written(sum((Decimal(str(text)) for text in texts if text is not None), Decimal(0)))


def _written(value: Decimal) -> str:
    """Write an amount with at least two decimals, and never with an exponent."""
    exponent = value.as_tuple().exponent
    places = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{value:.{places}f}"


def _list(holder: Json, name: str) -> list[object]:
    found = holder.get(name)
    return found if isinstance(found, list) else []

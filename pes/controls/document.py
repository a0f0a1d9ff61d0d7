"""Controls about a flux as a whole: its encoding, its header, what it may hold. Listed in `controls`."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date

from lxml import etree

from pes.controls.check_digits import is_siret
from pes.controls.control import Hit
from pes.numbers import number_of
from pes.reading.aller import Aller
from pes.reading.contents import BORDEREAUX_MAX, ID_CHARACTERS_MAX
from pes.reading.xml import SIGNATURE, value_at

SHOWN_CHARACTERS_MAX = 100
HEAD_BYTES = 50  # where S2LOW looks for the encoding (A5)
PART_BYTES = 4096
_C1 = bytes(range(0x80, 0xA0))

_LATIN = frozenset({"ISO-8859-1", "LATIN1"})
_TYPES = ("PESALR1", "PESALR2", "PESORMC")
_HEADER = (
    ("Enveloppe/Parametres/NomFic", re.compile(r"(?!0+$).{1,100}"), "1 à 100 caractères"),
    ("EnTetePES/IdPost", re.compile(r"02[AB][0-9]{3,4}|(?!0+$)[0-9]{6,7}"), "le codique, 6 ou 7 caractères"),
    ("EnTetePES/CodCol", re.compile(r"(?!000)[0-9]{3}"), "3 chiffres"),
    ("EnTetePES/CodBud", re.compile(r"[0-9A-Z][0-9]"), "2 caractères"),
)


def shown(text: str) -> str:
    """Return a value as a message quotes it."""
    return f"« {text[:SHOWN_CHARACTERS_MAX]}{'…' if len(text) > SHOWN_CHARACTERS_MAX else ''} »"


def nearest(root: etree._Element, path: str) -> etree._Element:
    """Return the element at a path, or the nearest one above it that exists."""
    element = root
    for step in path.split("/"):
        found = element.find(step)
        if found is None:
            break
        element = found
    return element


def not_latin(aller: Aller) -> Iterator[Hit]:
    """The declared encoding is not ISO-8859-1, and some bytes would be read as something else."""
    if _says_latin(aller) or aller.document.isascii():
        return
    yield Hit(aller.root, f"Le fichier annonce {_encoding(aller)} ; un PES doit annoncer et employer ISO-8859-1.")


def not_said_latin(aller: Aller) -> Iterator[Hit]:
    """The declared encoding is not ISO-8859-1 in so many words, but every character is the same in both."""
    if _says_latin(aller):
        if b"iso-8859-1" not in aller.document[:HEAD_BYTES].lower():
            told = "pas « ISO-8859-1 » dans ses 50 premiers caractères, où des plateformes le cherchent"
            yield Hit(aller.root, f"Le fichier n’annonce {told}.")
        return
    if not aller.document.isascii():
        return
    yield Hit(
        aller.root,
        f"Le fichier annonce {_encoding(aller)} ; un PES doit annoncer ISO-8859-1. Ses caractères sont tous "
        "communs aux deux : il reste lisible.",
    )


def lying(aller: Aller) -> Iterator[Hit]:
    """The bytes are those of ISO-8859-1 where it is declared: not UTF-8, not the additions of Windows-1252."""
    document = aller.document
    if not _says_latin(aller) or document.isascii():
        return
    if _has_c1(document):
        told = "des octets qui n’existent pas en ISO-8859-1 (sans doute du Windows-1252 ou de l’UTF-8)"
    elif _is_utf8(document):
        told = "de l’UTF-8 : ses accents seraient lus de travers"
    else:
        return
    yield Hit(aller.root, f"Le fichier annonce ISO-8859-1, mais contient {told}.")


def _has_c1(document: bytes) -> bool:
    """Say whether a byte has no character in ISO-8859-1; the parts that are ASCII, most of a flux, cost nothing."""
    parts = (document[start : start + PART_BYTES] for start in range(0, len(document), PART_BYTES))
    return any(not part.isascii() and len(part.translate(None, _C1)) != len(part) for part in parts)


def _is_utf8(document: bytes) -> bool:
    try:
        document.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _says_latin(aller: Aller) -> bool:
    return aller.prolog.declared in _LATIN and not aller.prolog.bom


def _encoding(aller: Aller) -> str:
    return (aller.prolog.declared or aller.prolog.bom or "aucun encodage")[:SHOWN_CHARACTERS_MAX]


def empty(aller: Aller) -> Iterator[Hit]:
    """Nothing stands beside Enveloppe and EnTetePES."""
    around = ("Enveloppe", "EnTetePES", SIGNATURE)
    if not any(isinstance(child.tag, str) and child.tag not in around for child in aller.root):
        yield Hit(
            aller.root,
            "Le flux ne contient ni dépense, ni recette, ni facture, ni marché, ni pièce jointe : Hélios n’y "
            "répondrait jamais.",
        )


def header(aller: Aller) -> Iterator[Hit]:
    """NomFic, IdPost, CodCol and CodBud are there, once, and have their form."""
    for path, pattern, expected in _HEADER:
        value = value_at(aller.root, path)
        name = path.rpartition("/")[2]
        for again in aller.root.findall(path)[1:]:
            yield Hit(again, f"{name} est répété : ce fichier ne dit pas une seule chose de lui-même.")
        if pattern.fullmatch(value):
            continue
        found = f"vaut {shown(value)}" if value else "est absent"
        yield Hit(nearest(aller.root, path), f"{name} {found} ; il est attendu : {expected}.")


def siret(aller: Aller) -> Iterator[Hit]:
    """IdColl is a SIRET, when it is given."""
    value = value_at(aller.root, "EnTetePES/IdColl")
    if value and not is_siret(value):
        message = f"IdColl vaut {shown(value)}, qui n’est pas un SIRET : 14 chiffres, dont une clé de contrôle."
        yield Hit(nearest(aller.root, "EnTetePES/IdColl"), message)


def siren(aller: Aller) -> Iterator[Hit]:
    """IdColl, and any other that a reader might take for it, is a SIRET of the collectivité that imports."""
    if not aller.collectivite:
        return
    of_theirs = re.compile(rf"{re.escape(aller.collectivite)}[0-9]{{5}}")
    for element in aller.root.findall("EnTetePES/IdColl") or [nearest(aller.root, "EnTetePES/IdColl")]:
        value = value_at(element, ".") if element.tag == "IdColl" else ""
        if not of_theirs.fullmatch(value):
            found = f"vaut {shown(value)}" if value else "est vide"
            message = (
                f"IdColl {found} ; il est attendu : un SIRET de la collectivité {aller.collectivite}, qui importe."
            )
            yield Hit(element, message)


def version(aller: Aller) -> Iterator[Hit]:
    """Version is 2."""
    yield from _number(aller.root, "Enveloppe/Parametres/Version", 2)


def file_type(aller: Aller) -> Iterator[Hit]:
    """TypFic is one of those that are used."""
    value = value_at(aller.root, "Enveloppe/Parametres/TypFic")
    if value not in _TYPES:
        message = f"TypFic vaut {shown(value)} ; les valeurs connues sont {', '.join(_TYPES)}."
        yield Hit(nearest(aller.root, "Enveloppe/Parametres/TypFic"), message)


def emitted_later(aller: Aller) -> Iterator[Hit]:
    """DteStr is not ahead of us."""
    value = value_at(aller.root, "EnTetePES/DteStr")
    emitted_on = day(value)
    if emitted_on is not None and emitted_on > aller.today:
        message = f"DteStr vaut {shown(value)}, une date à venir (nous sommes le {aller.today:%d/%m/%Y})."
        yield Hit(nearest(aller.root, "EnTetePES/DteStr"), message)


def domain_version(aller: Aller) -> Iterator[Hit]:
    """IdVer of each domain is 2."""
    for block in aller.blocks:
        yield from _number(block.element, f"{block.domain.header}/IdVer", 2)


def attachments_version(aller: Aller) -> Iterator[Hit]:
    """IdVer of the PJ is 1."""
    block = aller.root.find("PES_PJ")
    if block is not None and len(aller.attachments):
        yield from _number(block, "EnTetePES_PJ/IdVer", 1)


def signed_without_saying(aller: Aller) -> Iterator[Hit]:
    """No signature stands where InfoDematerialisee is not 1."""
    for block in aller.blocks:
        if block.is_dematerialised or block.element.find(f"Bordereau/{SIGNATURE}") is None:
            continue
        yield Hit(
            nearest(block.element, f"{block.domain.header}/InfoDematerialisee"),
            f"{block.domain.element} est signé alors que InfoDematerialisee ne vaut pas 1 : Hélios rejette ce flux.",
        )


def duplicate_ids(aller: Aller) -> Iterator[Hit]:
    """No two elements have the same Id: a signature could not say which of them it is of."""
    ids = [element_id for _, bordereau in aller.bordereaux() if (element_id := bordereau.get("Id"))]
    ids += [aller.root.get("Id", "")] if aller.root.get("Id") else []
    if len(ids) == len(set(ids)):
        return
    counts = Counter(ids)
    for element in (aller.root, *(bordereau for _, bordereau in aller.bordereaux())):
        element_id = element.get("Id", "")
        count = counts.pop(element_id, 0)
        if count > 1:
            message = f"{count} éléments portent le même Id {shown(element_id)} : leur signature serait ambiguë."
            yield Hit(element, message)


def long_ids(aller: Aller) -> Iterator[Hit]:
    """No Id is too long to be carried."""
    for element in (aller.root, *(bordereau for _, bordereau in aller.bordereaux())):
        if len(element.get("Id", "")) > ID_CHARACTERS_MAX:
            message = f"Un attribut Id dépasse {ID_CHARACTERS_MAX} caractères : il ne peut pas être signé ainsi."
            yield Hit(element, message)


def missing_ids(aller: Aller) -> Iterator[Hit]:
    """What must be signed has an Id: every bordereau, or else the root (helios.md 5.2)."""
    if aller.root.get("Id") or not any(block.is_dematerialised for block in aller.blocks):
        return
    for _, bordereau in aller.bordereaux():
        if bordereau.get("Id") is None:
            yield Hit(bordereau, "Ce bordereau n’a pas d’Id, ni la racine du fichier : il ne peut pas être signé.")


def too_many(aller: Aller) -> Iterator[Hit]:
    """There are not more bordereaux than a flux can reasonably have."""
    count = sum(len(block.bordereaux) for block in aller.blocks)
    if count > BORDEREAUX_MAX:
        message = f"Le flux contient {count} bordereaux ; la plateforme en accepte {BORDEREAUX_MAX} au plus."
        yield Hit(aller.root, message)


def day(text: str) -> date | None:
    """Return the day that an xs:date says (its zone, if any, is left out); none when it is not one."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _number(element: etree._Element, path: str, expected: int) -> Iterator[Hit]:
    """Numbers are compared as numbers: "02" is 2 (helios.md 2.2)."""
    value = value_at(element, path)
    if number_of(value) == str(expected):
        return
    name = path.rpartition("/")[2]
    found = f"vaut {shown(value)}" if value else "est absent"
    yield Hit(nearest(element, path), f"{name} {found} ; la seule valeur admise est {expected}.")

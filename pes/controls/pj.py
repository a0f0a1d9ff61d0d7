"""Controls about attachments (PJ) and the references to them (helios.md 2.6). Listed in `controls`."""

import re
from collections.abc import Iterator

from pes.controls.control import Hit
from pes.controls.document import nearest, shown
from pes.reading.aller import Aller
from pes.reading.attachments import kinds_for
from pes.reading.xml import value_at
from pes.units import MEBIBYTE

_ELECTRONIC = "01"
_NEED_REFERENCE = frozenset({"012", "013"})  # CFU
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,4}$")
_FAULTS = {
    "empty": "est vide",
    "base64": "n’est pas encodé en base64",
    "gzip": "n’est pas compressé au format gzip",
    "truncated": "est tronqué : sa décompression s’arrête avant la fin",
}


def unreadable(aller: Aller) -> Iterator[Hit]:
    """The content of every PJ can be read: base64, then gzip, within bounds."""
    for file, found in aller.inspections:
        if found.fault == "too-large":
            bound = aller.attachment_bytes_max // MEBIBYTE
            yield Hit(file, f"Le contenu de la PJ dépasse {bound} Mio une fois décompressé.")
        elif found.fault:
            fault = _FAULTS.get(found.fault, "n’est pas lisible")
            yield Hit(file, f"Le contenu de la PJ {fault} : elle ne pourrait pas être ouverte.")


def another_kind(aller: Aller) -> Iterator[Hit]:
    """The content of every PJ is of the kind that its MIME type and its name say."""
    names = [one.name for one in aller.attachments]
    has_one_each = len(names) == len(aller.inspections)
    for position, (file, found) in enumerate(aller.inspections):
        mime = file.get("MIMEType", "")
        name = names[position] if has_one_each else value_at(file, "../../NomPJ")
        if not found.fault and found.kind not in kinds_for(mime, name):
            message = f"La PJ {shown(name)} s’annonce {shown(mime)}, mais son contenu est de type {found.kind}."
            yield Hit(file, message)


def extension(aller: Aller) -> Iterator[Hit]:
    """The name of every PJ, where it has one, has an extension of 2 to 4 characters."""
    for one in aller.attachments:
        if one.name and not _EXTENSION.search(one.name):
            message = f"NomPJ vaut {shown(one.name)} ; il lui faut une extension (.pdf, .xml…)."
            yield Hit(nearest(aller.attachment(one), "NomPJ"), message)


def same_attachment(aller: Aller) -> Iterator[Hit]:
    """No IdUnique is given to two PJ."""
    seen: set[str] = set()
    for one in aller.attachments:
        if one.id_unique and one.id_unique in seen:
            message = f"Plusieurs PJ du fichier portent l’IdUnique {shown(one.id_unique)}."
            yield Hit(nearest(aller.attachment(one), "IdUnique"), message)
        seen.add(one.id_unique)


def not_referenced(aller: Aller) -> Iterator[Hit]:
    """Every PJ is referred to by a pièce, or says what it belongs to."""
    referred = {reference.id_unique for reference in aller.references}
    for one in aller.attachments:
        if one.id_unique not in referred and aller.attachment(one).find("RefCompta") is None:
            message = f"Aucune pièce ne fait référence à la PJ {shown(one.id_unique)}, et elle n’a pas de RefCompta."
            yield Hit(aller.attachment(one), message)


def no_accounting_reference(aller: Aller) -> Iterator[Hit]:
    """A CFU (types 012 and 013) says what it belongs to."""
    for one in aller.attachments:
        if one.type in _NEED_REFERENCE and aller.attachment(one).find("RefCompta") is None:
            yield Hit(aller.attachment(one), f"Une PJ de type {one.type} doit avoir un RefCompta.")


def not_enclosed(aller: Aller) -> Iterator[Hit]:
    """The PJ that a pièce refers to is in the file; it may also have come before."""
    known = {one.id_unique for one in aller.attachments}
    for one in aller.references:
        if one.support == _ELECTRONIC and one.id_unique not in known:
            known.add(one.id_unique)  # said once, where it is first referred to
            message = f"La PJ {shown(one.id_unique)} n’est pas dans le fichier : elle doit déjà être dans Hélios."
            yield Hit(aller.reference(one), message)


def on_paper(aller: Aller) -> Iterator[Hit]:
    """What is sent on paper or on a disc is not in the file as well."""
    enclosed = {one.id_unique for one in aller.attachments}
    for one in aller.references:
        if one.support != _ELECTRONIC and one.id_unique in enclosed:
            message = (
                f"La PJ {shown(one.id_unique)} est dans le fichier, alors que Support vaut {shown(one.support)}."
            )
            yield Hit(aller.reference(one), message)

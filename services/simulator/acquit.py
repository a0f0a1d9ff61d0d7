"""Writes PES_ACQUIT documents of the second generation (helios.md 7.1): the answer of DGFiP to one PES."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lxml import etree

from pes.reading.xml import ACQUIT_V2, value_at

# DomaineAck, as DGFiP codes it.
TECHNICAL = 0
BORDEREAU_SIGNATURE = 3
PJ = 4
DEPENSE = 5
RECETTE = 6
MARCHE = 11
FACTURE = 12
PARAMETERS = 99

UNKNOWN_TYPE = "UNKNOWN_TYPE"  # what DGFiP itself writes when it could not read TypFic
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_HEADER = ("DteStr", "IdPost", "LibellePoste", "IdColl", "FinJur", "CodCol", "CodBud", "LibelleColBud")


@dataclass(frozen=True)
class Error:
    """One anomaly: NumAnoAck and LibelleAnoAck."""

    code: str
    label: str


@dataclass(frozen=True)
class Element:
    """What DGFiP says of one part of a PES: it is OK when it has no error, on itself or on one of its pièces.

    Attributes:
        pieces: NumPiece and the error on it (DetailPiece).
    """

    domain: int
    number: str = ""
    exercice: str = ""
    id_unique: str = ""
    errors: tuple[Error, ...] = ()
    pieces: tuple[tuple[str, Error], ...] = field(default=())

    @property
    def is_ok(self) -> bool:
        """EtatAck."""
        return not self.errors and not self.pieces


def write_acquit(
    flux: etree._Element | None, filename: str, elements: Sequence[Element], reference: str = ""
) -> bytes:
    """Return a PES_ACQUIT, in ISO-8859-1.

    Args:
        flux: the root of the PES answered to, from which the header is copied as far as it can be read.
        filename: the name of the file, which stands in for NomFic when that cannot be read.
        elements: at least one.
        reference: of what was received. DGFiP writes none: nothing else in an answer tells it from the answer to
            another file with the same header.
    """
    root = etree.Element(f"{{{ACQUIT_V2}}}PES_ACQUIT", nsmap={"n": ACQUIT_V2})
    if reference:
        root.append(etree.Comment(f" {reference} "))
    _envelope(etree.SubElement(root, "Enveloppe"), flux, filename)
    _copy(etree.SubElement(root, "EnTetePES"), flux, "EnTetePES", _HEADER)
    acquit = etree.SubElement(root, "ACQUIT")
    _value(etree.SubElement(acquit, "EnTeteAcquit"), "IdVer", 2)
    for element in elements:
        _element(etree.SubElement(acquit, "ElementACQUIT"), element)
    return etree.tostring(root, encoding="ISO-8859-1", xml_declaration=True, pretty_print=True)


def _envelope(envelope: etree._Element, flux: etree._Element | None, filename: str) -> None:
    parameters = etree.SubElement(envelope, "Parametres")
    _value(parameters, "Version", 2)
    _value(parameters, "TypFic", value_at(flux, "Enveloppe/Parametres/TypFic") or UNKNOWN_TYPE)
    _value(parameters, "NomFic", value_at(flux, "Enveloppe/Parametres/NomFic") or filename[:100])
    _copy(etree.SubElement(envelope, "Emetteur"), flux, "Enveloppe/Emetteur", ("Sigle", "Adresse"))
    _value(etree.SubElement(envelope, "Recepteur"), "Sigle", "HELIOS")


def _element(target: etree._Element, element: Element) -> None:
    _value(target, "DomaineAck", element.domain)
    _value(target, "EtatAck", int(element.is_ok))
    for name, value in (
        ("NumBord", element.number),
        ("ExerciceBord", element.exercice),
        ("IdUnique", element.id_unique),
    ):
        if value:
            _value(target, name, value)
    _errors(target, element.errors)
    for number, error in element.pieces:
        piece = etree.SubElement(target, "DetailPiece")
        _value(piece, "NumPiece", number)
        _errors(piece, [error])


def _errors(target: etree._Element, errors: Iterable[Error]) -> None:
    for error in errors:
        one = etree.SubElement(target, "Erreur")
        _value(one, "NumAnoAck", error.code)
        _value(one, "LibelleAnoAck", error.label)


def _copy(target: etree._Element, flux: etree._Element | None, path: str, names: Iterable[str]) -> None:
    for name in names:
        if flux is not None and (found := flux.find(f"{path}/{name}")) is not None:
            _value(target, name, found.get("V") or "")


def _value(parent: etree._Element, name: str, value: object) -> None:
    # What was read in a broken file, or its name, may hold what XML cannot.
    etree.SubElement(parent, name, V=_NOT_XML.sub("?", str(value)))

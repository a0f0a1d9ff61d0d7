"""Reads the bytes of a file into a tree, or says in French why nobody can."""

from lxml import etree

from services.validation.controls import BY_CODE
from services.validation.places import VALUE_CHARACTERS_MAX
from shared.events import Finding, Where
from shared.pes import PES_ALLER, Prolog, UnreadableError, parse, read_prolog

TECHNICAL_CHARACTERS_MAX = 1000

_MESSAGES = {
    "empty": "Le fichier est vide.",
    "not-xml": "Le fichier n'est pas un document XML.",
    "doctype": "Le fichier contient une déclaration DOCTYPE, interdite dans un PES : elle peut cacher du contenu "
    "externe.",
    "encoding": "L'encodage du fichier n'est pas accepté : un PES est encodé en ISO-8859-1.",
    "malformed": "Le fichier est tronqué ou mal formé : sa lecture s'arrête à l'endroit indiqué.",
}


class Unreadable(ValueError):  # noqa: N818  # an outcome that `judge` turns into a verdict, not a fault
    """The bytes cannot be read as XML.

    Attributes:
        finding: why, for the person who handed in the file.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_document(document: bytes) -> tuple[Prolog, etree._Element]:
    """Return the prolog and the root of a document that is not trusted.

    Raises:
        Unreadable: it is not XML that we agree to read.
    """
    try:
        return read_prolog(document), parse(document)
    except UnreadableError as error:
        raise Unreadable(_finding(error)) from error


def missing(path: str, reason: str) -> Finding:
    """Return the finding of a file that is not there, or may not be read."""
    control = BY_CODE["reader.missing"]
    return Finding(
        source="reader",
        code=control.code,
        severity=control.severity,
        message=f"Le fichier {path} ne peut pas être lu : {reason}.",
        who=control.who,
        next=control.next,
    )


def wrong_root(root: etree._Element) -> Finding:
    """Return the finding of a document that is not a PES Aller."""
    name = etree.QName(root)
    found = name.localname[:VALUE_CHARACTERS_MAX]
    if found == etree.QName(PES_ALLER).localname:
        found += f", dans un espace de noms inconnu ({(name.namespace or 'aucun')[:VALUE_CHARACTERS_MAX]})"
    control = BY_CODE["pes.root"]
    return Finding(
        source="control",
        code=control.code,
        severity=control.severity,
        message=f"Ce document n'est pas un PES Aller : sa racine est {found}.",
        where=Where(element=name.localname[:VALUE_CHARACTERS_MAX], line=root.sourceline),
        who=control.who,
        next=control.next,
    )


def unknown_root(root: etree._Element) -> Finding:
    """Return the finding of a document that a pack has no schema for."""
    name = str(root.tag)[:VALUE_CHARACTERS_MAX]
    finding = wrong_root(root)
    return finding.model_copy(
        update={"message": f"Le pack de schémas ne connaît pas la racine de ce document : {name}."}
    )


def _finding(error: UnreadableError) -> Finding:
    control = BY_CODE[f"reader.{error.code}"]
    return Finding(
        source="reader",
        code=control.code,
        severity=control.severity,
        message=_MESSAGES[error.code],
        where=Where(line=error.line, column=error.column),
        who=control.who,
        next=control.next,
        technical=str(error)[:TECHNICAL_CHARACTERS_MAX],
    )

"""Reads the bytes of a file into a tree, or says in French why nobody can."""

from typing import Literal

from lxml import etree

from pes.controls.catalogue import BY_CODE
from pes.reading.locations import VALUE_CHARACTERS_MAX
from pes.reading.xml import PES_ALLER, UNREADABLE, Prolog, UnreadableError, parse, read_prolog
from pes.units import MEBIBYTE
from pes.vocabulary import Finding, Where

TECHNICAL_CHARACTERS_MAX = 1000

_NEXT_NAMESPACE = (
    "Transmettez ce message à l’éditeur du logiciel financier : l’espace de noms n’est pas celui du PES."
)
# What libxml2 says of XML that is not well formed, and what it means to a person.
_WRONG_BYTES = "Le fichier contient des octets qui n’existent pas dans l’encodage qu’il annonce."
_CAUSES = {
    "Invalid bytes in character encoding": _WRONG_BYTES,
    "not proper UTF-8": _WRONG_BYTES,
    "xmlParseEntityRef: no name": "Un « & » n’est pas écrit « &amp; » à l’endroit indiqué : le XML est mal formé.",
    "not defined": "Le fichier emploie une entité que le XML ne connaît pas (« &eacute; » par exemple).",
    "tag mismatch": "Une balise n’est pas refermée comme elle a été ouverte, à l’endroit indiqué.",
    "attributes construct error": "Un attribut est mal écrit à l’endroit indiqué (guillemets, signe =).",
    "invalid xmlChar": "Le fichier contient, à l’endroit indiqué, un caractère que le XML interdit.",
    "PCDATA invalid Char": "Le fichier contient, à l’endroit indiqué, un caractère que le XML interdit.",
    "Extra content at the end": "Le fichier contient encore quelque chose après la fin du document.",
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
    return _found("reader.missing", f"Le fichier {path} ne peut pas être lu : {reason}.")


def too_large(size: int) -> Finding:
    """Return the finding of a file with more bytes than a flux may have."""
    message = f"Le fichier fait {size // MEBIBYTE} Mio ; un flux en fait 128 au plus."
    return _found("reader.too-large", message)


def too_costly(reason: str) -> Finding:
    """Return the finding of a file whose reading takes more than a worker has; `reason` is technical."""
    message = "Le contrôle de ce fichier demande plus de temps ou de mémoire que la plateforme n’en donne à un flux."
    return _found("reader.too-costly", message, technical=reason)


def wrong_root(root: etree._Element) -> Finding:
    """Return the finding of a document that is not a PES Aller."""
    name = etree.QName(root)
    is_by_namespace = name.localname == etree.QName(PES_ALLER).localname
    found = name.localname[:VALUE_CHARACTERS_MAX]
    if is_by_namespace:
        found += f", dans un espace de noms inconnu ({(name.namespace or 'aucun')[:VALUE_CHARACTERS_MAX]})"
    message = f"Ce document n’est pas un PES Aller : sa racine est {found}."
    where = Where(element=name.localname[:VALUE_CHARACTERS_MAX], line=root.sourceline)
    finding = _found("pes.root", message, source="control", where=where)
    if not is_by_namespace:
        return finding
    return finding.model_copy(update={"who": "éditeur", "next": _NEXT_NAMESPACE})


def unknown_root(root: etree._Element) -> Finding:
    """Return the finding of a document that a pack has no schema for."""
    name = str(root.tag)[:VALUE_CHARACTERS_MAX]
    finding = wrong_root(root)
    return finding.model_copy(
        update={"message": f"Le pack de schémas ne connaît pas la racine de ce document : {name}."}
    )


def _finding(error: UnreadableError) -> Finding:
    causes = _CAUSES if error.code == "malformed" else {}
    cause = next((said for sign, said in causes.items() if sign in str(error)), "")
    where = Where(line=error.line, column=error.column)
    technical = str(error)[:TECHNICAL_CHARACTERS_MAX]
    return _found(f"reader.{error.code}", cause or UNREADABLE[error.code], where=where, technical=technical)


def _found(
    code: str,
    message: str,
    *,
    source: Literal["reader", "control"] = "reader",
    where: Where | None = None,
    technical: str = "",
) -> Finding:
    control = BY_CODE[code]
    return Finding(
        source=source,
        code=code,
        severity=control.severity,
        message=message,
        where=where or Where(),
        who=control.who,
        next=control.next,
        technical=technical,
    )

"""One PES Aller as the controls look at it: the tree, and columns of values read from it once.

A control that is satisfied must cost next to nothing. So it first looks at columns: XPath, compiled once, gives
every value of a field in one call, in the order of the document. Only what looks wrong is looked for further.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from typing import NamedTuple

from lxml import etree

from services.validation.attachments import Inspection, inspect
from services.validation.domains import DOMAINS, Domain
from shared.pes import Prolog, value_at

_TRUE = frozenset({"1", "true"})


@cache
def _compiled(path: str) -> etree.XPath:
    return etree.XPath(path, smart_strings=False)


def column(element: etree._Element, path: str) -> list[str]:
    """Return every value (attribute or text) at a path, as plain strings."""
    return [str(value) for value in found] if isinstance(found := _compiled(path)(element), list) else []


def elements(element: etree._Element, path: str) -> list[etree._Element]:
    """Return every element at a path."""
    found = _compiled(path)(element)
    return [one for one in found if etree.iselement(one)] if isinstance(found, list) else []


@dataclass(frozen=True)
class Block:
    """The part of a flux that is about one domain: PES_DepenseAller or PES_RecetteAller."""

    domain: Domain
    element: etree._Element

    @cached_property
    def is_dematerialised(self) -> bool:
        """True when its bordereaux must be signed (helios.md 2.3)."""
        return value_at(self.element, f"{self.domain.header}/InfoDematerialisee") in _TRUE

    @cached_property
    def bordereaux(self) -> list[etree._Element]:
        """Every Bordereau."""
        return self.element.findall("Bordereau")

    def column(self, path: str) -> list[str]:
        """Return a column of the whole block; `{piece}` and `{ligne}` stand for where this domain keeps them."""
        return column(self.element, self.domain.path(path))

    def elements(self, path: str) -> list[etree._Element]:
        """Return the elements at a path, which is written as for `column`."""
        return elements(self.element, self.domain.path(path))


class Attachment(NamedTuple):
    """A PJ: its element, its Fichier if it has one, and what it says of itself."""

    element: etree._Element
    file: etree._Element | None
    id_unique: str
    name: str
    type: str
    has_accounting_reference: bool


class Reference(NamedTuple):
    """A PJRef: the IdUnique and the Support that it gives."""

    element: etree._Element
    id_unique: str
    support: str


@dataclass(frozen=True)
class Subject:
    """What the controls are given.

    Attributes:
        document: the bytes as imported.
        root: the PES_Aller element.
        collectivite: the SIREN of the collectivité that imports; empty when nobody says.
        today: the day of the judgement, for the dates that may not lie ahead.
        attachment_bytes_max: what one PJ may come to, once decompressed.
    """

    document: bytes = field(repr=False)
    root: etree._Element
    prolog: Prolog
    collectivite: str
    today: date
    attachment_bytes_max: int

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The domains that have bordereaux."""
        found = ((domain, self.root.find(domain.element)) for domain in DOMAINS)
        return tuple(Block(domain, element) for domain, element in found if element is not None)

    @cached_property
    def attachments(self) -> list[Attachment]:
        """Every PJ."""
        return [_attachment(element) for element in self.root.iterfind("PES_PJ/PJ")]

    @cached_property
    def inspections(self) -> list[tuple[Attachment, etree._Element, Inspection]]:
        """Every PJ that has a Fichier (the schema says when there is none), and what became of opening it."""
        return [
            (one, one.file, inspect(one.file.text, bytes_max=self.attachment_bytes_max))
            for one in self.attachments
            if one.file is not None
        ]

    @cached_property
    def references(self) -> list[Reference]:
        """Every PJRef."""
        # Not by XPath: "//" makes libxml2 compare every element found with every other.
        return [_reference(element) for element in self.root.iter("PJRef")]

    def bordereaux(self) -> Iterator[tuple[Block, etree._Element]]:
        """Yield every Bordereau with its block, in the order of the document."""
        for block in self.blocks:
            for bordereau in block.bordereaux:
                yield block, bordereau


def _reference(element: etree._Element) -> Reference:
    values = {child.tag: child.get("V", "") for child in element}
    return Reference(element, values.get("IdUnique", ""), values.get("Support", ""))


def _attachment(element: etree._Element) -> Attachment:
    children = {child.tag: child for child in element}
    contents = children.get("Contenu")
    values = {tag: child.get("V", "") for tag, child in children.items()}
    return Attachment(
        element,
        None if contents is None else contents.find("Fichier"),
        values.get("IdUnique", ""),
        values.get("NomPJ", ""),
        values.get("TypePJ", ""),
        "RefCompta" in children,
    )

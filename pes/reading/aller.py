"""One PES Aller as the controls look at it: the tree, and columns of values read from it once.

A control that is satisfied must cost next to nothing. So it first looks at columns: XPath, compiled once, gives
every value of a field in one call, in the order of the document. Only what looks wrong is looked for further.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from typing import NamedTuple, cast

from lxml import etree

from pes.reading.attachments import Inspection, inspect
from pes.reading.domains import DOMAINS, Domain
from pes.reading.xml import Prolog, value_at

ATTACHMENTS = "PES_PJ/PJ"
# From one place, "descendant" is one walk; "//" below others makes libxml2 compare all that it found.
REFERENCES = "descendant::PJRef"
_OF_PJ = ("IdUnique", "NomPJ", "TypePJ")
_OF_PJREF = ("IdUnique", "Support")
_TRUE = frozenset({"1", "true"})


@cache
def _compiled(path: str) -> etree.XPath:
    return etree.XPath(path, smart_strings=False)


def column(element: etree._Element, path: str) -> list[str]:
    """Return every value (attribute or text) at a path, as plain strings."""
    found = _compiled(path)(element)
    return cast("list[str]", found) if isinstance(found, list) else []


def elements(element: etree._Element, path: str) -> list[etree._Element]:
    """Return every element at a path."""
    found = _compiled(path)(element)
    return found if isinstance(found, list) else []


def count(element: etree._Element, path: str) -> int:
    """Return how many elements are at a path."""
    found = _compiled(f"count({path})")(element)
    return int(found) if isinstance(found, float) else 0


def rows(element: etree._Element, path: str, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the values that each element at a path has in its children of these names; empty where it has none."""
    columns = [column(element, f"{path}/{name}/@V") for name in names]
    expected = count(element, path)
    if all(len(one) == expected for one in columns):
        return list(zip(*columns, strict=True))
    # Some have none, or several: the columns say no longer which is whose.
    return [tuple(value_at(one, name) for name in names) for one in elements(element, path)]


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
    """What a PJ says of itself; `position` counts from 0."""

    position: int
    id_unique: str
    name: str
    type: str


class Reference(NamedTuple):
    """A PJRef: the IdUnique and the Support that it gives; `position` counts from 0."""

    position: int
    id_unique: str
    support: str


@dataclass(frozen=True)
class Aller:
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
        return [Attachment(position, *values) for position, values in enumerate(rows(self.root, ATTACHMENTS, _OF_PJ))]

    @cached_property
    def references(self) -> list[Reference]:
        """Every PJRef."""
        return [
            Reference(position, *values) for position, values in enumerate(rows(self.root, REFERENCES, _OF_PJREF))
        ]

    @cached_property
    def inspections(self) -> list[tuple[etree._Element, Inspection]]:
        """Every Fichier of a PJ (the schema says when there is none), and what became of opening it."""
        return [
            (file, inspect(file.text, bytes_max=self.attachment_bytes_max))
            for file in elements(self.root, f"{ATTACHMENTS}/Contenu/Fichier")
        ]

    def attachment(self, one: Attachment) -> etree._Element:
        """Return the element of a PJ."""
        return self._attachment_elements[one.position]

    def reference(self, one: Reference) -> etree._Element:
        """Return the element of a PJRef."""
        return self._reference_elements[one.position]

    @cached_property
    def _attachment_elements(self) -> list[etree._Element]:
        return elements(self.root, ATTACHMENTS)

    @cached_property
    def _reference_elements(self) -> list[etree._Element]:
        return elements(self.root, REFERENCES)

    def bordereaux(self) -> Iterator[tuple[Block, etree._Element]]:
        """Yield every Bordereau with its block, in the order of the document."""
        for block in self.blocks:
            for bordereau in block.bordereaux:
                yield block, bordereau

"""Says where in a PES something is: bordereau, pièce and ligne for the accountant, XPath and line for the éditeur."""

from collections.abc import Iterable, Mapping
from xml.parsers import expat

from lxml import etree

from pes.vocabulary import Where

VALUE_CHARACTERS_MAX = 100
XPATH_CHARACTERS_MAX = 500

_DOMAINS = {
    "PES_DepenseAller": "depense",
    "PES_RecetteAller": "recette",
    "PES_Facture": "facture",
    "PES_Marche": "marche",
}
# Where each level keeps its number: the first path that leads to one (helios.md 2.3, 2.4).
_NUMBERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Bordereau": ("bordereau", ("BlocBordereau/IdBord",)),
    "Piece": ("piece", ("BlocPiece/InfoPce/IdPce", "BlocPiece/IdPce")),
    "LigneDePiece": ("ligne", ("BlocLignePiece/InfoLignePce/IdLigne", "BlocLignePiece/InfoLignePiece/IdLigne")),
    "PJ": ("attachment", ("IdUnique",)),
    "PJRef": ("attachment", ("IdUnique",)),
}

Position = tuple[int, int]


def where_is(element: etree._Element, place: Position | None = None) -> Where:
    """Return the place of an element; `place` is its line and column where they are known (`columns_of`)."""
    found: dict[str, str] = {}
    here: etree._Element | None = element
    while here is not None:
        name = str(here.tag)
        if name in _NUMBERS:
            level, paths = _NUMBERS[name]
            found.setdefault(level, _number(here, paths))
        elif name in _DOMAINS:
            found["domain"] = _DOMAINS[name]
        here = here.getparent()
    return Where(
        **found,
        element=etree.QName(element).localname[:VALUE_CHARACTERS_MAX],
        xpath=element.getroottree().getpath(element)[:XPATH_CHARACTERS_MAX],
        line=place[0] if place else element.sourceline,
        column=place[1] if place else None,
    )


class Elements:
    """Finds the elements that the paths of libxml2 name, such as `/n:PES_Aller/PES_PJ/PJ[3]`.

    As XPath each would be looked for among all its brothers; here each parent's children are listed once.
    """

    def __init__(self, root: etree._Element) -> None:
        """Find elements under this root."""
        self._root = root
        self._children: dict[tuple[etree._Element, str], list[etree._Element]] = {}

    def at(self, path: str) -> etree._Element | None:
        """Return the element at a path; none when there is none."""
        here = self._root
        for step in path.split("/")[2:]:
            name, _, place = step.rstrip("]").partition("[")
            brothers = self._named(here, name)
            position = int(place) - 1 if place.isdigit() else 0
            if position >= len(brothers):
                return None
            here = brothers[position]
        return here

    def _named(self, parent: etree._Element, name: str) -> list[etree._Element]:
        if (parent, name) not in self._children:
            self._children[parent, name] = [one for one in parent.iterchildren(etree.Element) if _is_named(one, name)]
        return self._children[parent, name]


def _is_named(element: etree._Element, name: str) -> bool:
    if name == "*":  # what libxml2 writes for an element in a default namespace
        return True
    prefix, _, local = name.rpartition(":")
    return etree.QName(element).localname == local and (element.prefix or "") == prefix


def columns_of(
    document: bytes, root: etree._Element, elements: Iterable[etree._Element]
) -> dict[etree._Element, Position]:
    """Return the line and column (from 1) where each element's tag starts; costs one more reading of the document.

    Nothing for the elements of a document that expat cannot read: then only the line is known, from lxml.
    """
    wanted = set(elements)
    if not wanted:
        return {}
    ordinals: dict[int, etree._Element] = {}
    for ordinal, element in enumerate(root.iter(etree.Element)):
        if element in wanted:
            ordinals[ordinal] = element
            if len(ordinals) == len(wanted):
                break
    return {ordinals[ordinal]: place for ordinal, place in _positions(document, ordinals).items()}


def _positions(document: bytes, ordinals: Iterable[int]) -> dict[int, Position]:
    wanted = set(ordinals)
    found: dict[int, Position] = {}
    count = 0
    parser = expat.ParserCreate()

    def on_start(_name: str, _attributes: object) -> None:
        nonlocal count
        if count in wanted:
            found[count] = (parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
            if len(found) == len(wanted):
                parser.StartElementHandler = None
        count += 1

    parser.StartElementHandler = on_start
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat's "this is all of it" takes no keyword
    except (expat.ExpatError, ValueError, LookupError):
        return {}
    return found


def _number(element: etree._Element, paths: tuple[str, ...]) -> str:
    for path in paths:
        found = element.find(path)
        if found is not None:
            return (found.get("V") or "").strip()[:VALUE_CHARACTERS_MAX]
    return ""

"""Reading PES documents without trusting them, and the names that PES v2 uses (helios.md 2, 7).

One place for the safety rules: no DTD, no entity, no network, no size limit inside libxml2 (real files have text
nodes above 10 MB, so its limits are lifted; that is why a DOCTYPE is refused *before* parsing: with the limits
lifted, libxml2 would expand entities without end).
"""

import re
from dataclasses import dataclass
from functools import cache

from lxml import etree

ALLER = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller"
ACQUIT_V1 = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour"
ACQUIT_V2 = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour/v2"
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"

PES_ALLER = f"{{{ALLER}}}PES_Aller"
SIGNATURE = f"{{{XMLDSIG}}}Signature"

_BOMS = {
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\xfe\xff": "UTF-16",
    b"\xff\xfe": "UTF-16",
    b"\xef\xbb\xbf": "UTF-8",
}
# Encodings in which markup is always written in ASCII. In any other, a DOCTYPE could hide from `read_prolog`.
_PLAIN_ENCODINGS = frozenset(
    {"", "ISO-8859-1", "ISO-8859-15", "LATIN1", "WINDOWS-1252", "US-ASCII", "ASCII", "UTF-8"}
)
_DECLARATION = re.compile(rb"<\?xml\s[^>]{0,200}?\?>")
_BEGINS_AS_DECLARATION = re.compile(rb"<\?xml\s")
_ENCODING = re.compile(rb"""encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_MISC = re.compile(rb"\s+|<!--.*?-->|<\?.*?\?>", re.DOTALL)


# Why a document is not read, for whoever deposited it (French).
UNREADABLE = {
    "empty": "Le fichier est vide.",
    "not-xml": "Le fichier n’est pas un document XML.",
    "doctype": "Le fichier contient une déclaration DOCTYPE, interdite dans un PES : elle peut cacher du contenu "
    "externe.",
    "encoding": "L’encodage du fichier n’est pas accepté : un PES est encodé en ISO-8859-1.",
    "malformed": "Le fichier est tronqué ou mal formé : sa lecture s’arrête à l’endroit indiqué.",
}


class UnreadableError(ValueError):
    """The bytes are not an XML document that we agree to parse.

    Attributes:
        code: why: `empty`, `not-xml`, `doctype`, `encoding` or `malformed`.
        line: where, when it is known, as is `column`; both count from 1.
    """

    def __init__(self, code: str, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Prolog:
    """What stands before the root element: the encoding as declared (upper case, empty if not), and by the BOM."""

    declared: str
    bom: str


def read_prolog(document: bytes) -> Prolog:
    """Read what stands before the root element, and refuse what must not be there.

    Raises:
        UnreadableError: empty, not XML, encoded in a way that hides its markup (UTF-16…), or with a DOCTYPE.
    """
    if not document.strip():
        raise UnreadableError("empty", "the document is empty")
    bom = next((name for mark, name in _BOMS.items() if document.startswith(mark)), "")
    if bom in ("UTF-16", "UTF-32") or document[:4] in (
        b"<\x00?\x00",
        b"\x00<\x00?",
        b"<\x00n\x00",
        b"\x00<\x00n",
    ):
        raise UnreadableError("encoding", f"the document is encoded in {bom or 'UTF-16'}")
    at = len(b"\xef\xbb\xbf") if bom else 0
    declared = ""
    if declaration := _DECLARATION.match(document, at):
        encoding = _ENCODING.search(declaration.group())
        declared = encoding.group(1).decode("ascii").upper() if encoding else ""
    elif _BEGINS_AS_DECLARATION.match(document, at):
        # What it says would be read by the parser, and not by us: a DOCTYPE might hide behind it.
        raise UnreadableError("malformed", "the XML declaration is not one, or is too long", 1)
    if declared not in _PLAIN_ENCODINGS:
        raise UnreadableError("encoding", f"the document says it is encoded in {declared}", 1)
    while skipped := _MISC.match(document, at):
        at = skipped.end()
    if document[at : at + 9].upper() == b"<!DOCTYPE":
        raise UnreadableError("doctype", "the document has a DOCTYPE", document.count(b"\n", 0, at) + 1)
    if document[at : at + 1] != b"<":
        raise UnreadableError("not-xml", "the document does not begin with an element", 1)
    return Prolog(declared=declared, bom=bom)


def safe_parser() -> etree.XMLParser:
    """Return a parser that reads nothing but the bytes it is given. Read the prolog first."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=True,
        collect_ids=False,
    )


def read(document: bytes) -> etree._Element:
    """Return the root of a document that is not trusted.

    Raises:
        UnreadableError: see `read_prolog` and `parse`.
    """
    read_prolog(document)
    return parse(document)


def parse(document: bytes) -> etree._Element:
    """Return the root of a document whose prolog was read already (`read_prolog`).

    Raises:
        UnreadableError: it is not well formed.
    """
    try:
        root = etree.fromstring(document, safe_parser())
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError("libxml2 had not enough memory") from error  # nothing is wrong with the document
        line, column = error.position
        raise UnreadableError("malformed", _without_place(error.msg), line, column) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise UnreadableError("doctype", "the document has a DOCTYPE")
    return root


def _without_place(message: str | None) -> str:
    """Return what libxml2 says, without the line and column that it repeats at the end."""
    return (message or "not well formed").split(", line ")[0]


@cache
def _value_path(path: str) -> etree.XPath:
    return etree.XPath(f"string(({path})[1]/@V)", smart_strings=False)


def value_at(element: etree._Element | None, path: str) -> str:
    """Return the `V` attribute of the first element at a path (PES keeps its values there), or an empty string."""
    return "" if element is None else str(_value_path(path)(element)).strip()

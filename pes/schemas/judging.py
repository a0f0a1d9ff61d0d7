"""Judges a document with a schema, and says in French what libxml2 says in English.

libxml2 gives one sentence of a fixed form for each kind of violation. `_FORMS` lists them: the stable code, the form,
and what a person needs to read. A form that is not in the list is still reported, with the sentence as it came.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lxml import etree

from pes.reading.locations import VALUE_CHARACTERS_MAX, Elements
from pes.reading.privacy import is_private, masked
from pes.vocabulary import Who

TECHNICAL_CHARACTERS_MAX = 1000
_NEXT = "Transmettez ce message à l’éditeur du logiciel financier : l’export ne respecte pas le schéma du PES v2."
_NEXT_VALUE = "Corrigez cette valeur dans le logiciel financier, puis exportez de nouveau ; sinon, voyez l’éditeur."


@dataclass(frozen=True)
class Violation:
    """One thing that a schema refuses; `element` is where, when the document tree still tells."""

    code: str
    message: str
    technical: str
    who: Who
    next: str
    line: int
    xpath: str
    element: etree._Element | None = None


class _Form(NamedTuple):
    """One kind of sentence of libxml2, and ours. `is_value` is what the one who keeps the accounts can correct."""

    code: str
    pattern: re.Pattern[str]
    say: Callable[[dict[str, str]], str]
    is_value: bool = False


def _form(code: str, pattern: str, sentence: str, *, is_value: bool = False) -> _Form:
    return _Form(code, re.compile(pattern, re.DOTALL), lambda said: sentence.format(**said), is_value)


def _facet(code: str, facet: str, pattern: str, sentence: str) -> _Form:
    """Return the form of a value that a facet of its type refuses: the accounts have it wrong."""
    begins = rf"^\[facet '{facet}'\] The value '(?P<value>.*)' "
    return _form(code, begins + pattern, "{subject} vaut « {value} »" + sentence, is_value=True)


_SUBJECT = re.compile(
    r"^Element '(?P<element>[^']*)'(?:, attribute '(?P<attribute>[^']*)')?: (?P<rest>.*)$", re.DOTALL
)

_FORMS = (
    _form("missing-element", r"^Missing child element\(s\)\.(?P<expected>.*)$", "{subject} est incomplet{expected}."),
    _form(
        "unexpected-element",
        r"^This element is not expected\.(?P<expected>.*)$",
        "{subject} n’est pas à sa place{expected}.",
    ),
    _form(
        "missing-attribute",
        r"^The attribute '(?P<name>[^']*)' is required but missing\.",
        "{subject} n’a pas d’attribut {name}.",
    ),
    _form(
        "unexpected-attribute",
        r"^The attribute '(?P<name>[^']*)' is not allowed\.",
        "{subject} a un attribut {name}, que le schéma n’admet pas.",
    ),
    _facet(
        "too-long",
        "maxLength",
        r"has a length of '(?P<length>\d+)'; this exceeds the allowed maximum length of '(?P<bound>\d+)'",
        ", soit {length} caractères ; {bound} au plus sont admis.",
    ),
    _facet(
        "too-short",
        "minLength",
        r"has a length of '(?P<length>\d+)'; this underruns the allowed minimum length of '(?P<bound>\d+)'",
        ", soit {length} caractères ; il en faut au moins {bound}.",
    ),
    _facet(
        "length",
        "length",
        r"has a length of '(?P<length>\d+)'; this differs from the allowed length of '(?P<bound>\d+)'",
        ", soit {length} caractères ; il en faut exactement {bound}.",
    ),
    _facet(
        "pattern",
        "pattern",
        r"is not accepted by the pattern '(?P<bound>.*)'\.",
        ", qui n’a pas la forme attendue ({bound}).",
    ),
    _facet(
        "enumeration",
        "enumeration",
        r"is not an element of the set \{(?P<bound>.*)\}\.",
        " ; les valeurs admises sont : {bound}.",
    ),
    _facet(
        "total-digits",
        "totalDigits",
        r"has more digits than are allowed \('(?P<bound>\d+)'\)",
        " ; {bound} chiffres au plus sont admis.",
    ),
    _facet(
        "fraction-digits",
        "fractionDigits",
        r"has more fractional digits than are allowed \('(?P<bound>\d+)'\)",
        " ; {bound} décimales au plus sont admises.",
    ),
    _facet(
        "too-small",
        "minInclusive",
        r"is less than the minimum value allowed \('(?P<bound>[^']*)'\)",
        " ; la plus petite valeur admise est {bound}.",
    ),
    _facet(
        "too-large",
        "maxInclusive",
        r"is greater than the maximum value allowed \('(?P<bound>[^']*)'\)",
        " ; la plus grande valeur admise est {bound}.",
    ),
    _facet(
        "too-small",
        "minExclusive",
        r"(?:must be greater than|is not greater than|is less than).*?'(?P<bound>[^']*)'",
        " ; il faut plus que {bound}.",
    ),
    _facet("too-large", "maxExclusive", r".*?'(?P<bound>[^']*)'\)?\.$", " ; il faut moins que {bound}."),
    _form(
        "type",
        r"^'(?P<value>.*)' is not a valid value of the (?:local )?(?:atomic|union|list) type"
        r"(?: '(?P<bound>[^']*)')?\.",
        "{subject} vaut « {value} », qui n’est pas {bound}.",
        is_value=True,
    ),
    _form(
        "text",
        r"^Character content (?:other than whitespace )?is not allowed",
        "{subject} contient du texte, là où seuls des éléments sont admis.",
    ),
    _form(
        "content",
        r"^Element content is not allowed",
        "{subject} contient un élément, là où seule une valeur est admise.",
    ),
    _form(
        "unknown-root",
        r"^No matching global (?:element )?declaration available for the validation root\.",
        "{subject} n’est pas une racine que ce pack de schémas connaît.",
    ),
    _form(
        "undeclared",
        r"^No matching global (?:element|attribute) declaration available",
        "{subject} n’est pas connu du schéma.",
    ),
    # libxml2 cuts its sentence when the value is enormous: what it would have said next is lost.
    _form(
        "too-long",
        r"^\[facet 'maxLength'\] The value '(?P<value>.*)$",
        "{subject} vaut « {value} » : c’est trop long.",
    ),
    _form("value", r"^\[facet '\w+'\] The value '(?P<value>.*)$", "{subject} vaut « {value} », qui n’est pas admis."),
    _form("type", r"^'(?P<value>.*)$", "{subject} vaut « {value} », qui n’est pas admis."),
)

_UNKNOWN_TYPE = "une valeur du type attendu"
_SIGNS = {"Dte": "date", "Date": "date", "Exer": "gYear", "Mt": "decimal", "Montant": "decimal", "Tx": "decimal"}
# The patterns of the base types (helios.md 2.2), which say little as they are written.
_PATTERNS = {
    ".*[^0]+.*": "au moins un caractère autre que 0",
    "[A-Z]{6,6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3,3}){0,1}": "un BIC : 8 ou 11 caractères, en majuscules",
    "[A-Z]{2,2}[0-9]{2,2}[a-zA-Z0-9]{1,30}": "un IBAN : deux lettres, deux chiffres, puis le compte, sans blanc",
    r"(.+\.[A-Za-z0-9]{2,4})": "un nom de fichier avec une extension de 2 à 4 caractères",
    "(02[A-B][0-9]{3,4}|[0-9]{6,7})": "un codique : 6 ou 7 chiffres",
    r"[^ \.]|n[^c]|[^n]c|[^n][^c]|...+": "ni un blanc, ni un point, ni « nc » seuls",
}
_TYPES = {
    "boolean": "un booléen (0, 1, true ou false)",
    "date": "une date (AAAA-MM-JJ)",
    "dateTime": "une date et une heure (AAAA-MM-JJThh:mm:ss)",
    "gYear": "une année (AAAA)",
    "decimal": "un nombre décimal (séparateur : le point)",
    "integer": "un nombre entier",
    "nonNegativeInteger": "un nombre entier positif",
    "positiveInteger": "un nombre entier supérieur à zéro",
    "base64Binary": "du base64",
    "ID": "un identifiant XML unique dans le fichier",
    "anyURI": "une adresse (URI)",
}


def violations(schema: etree.XMLSchema, root: etree._Element, most: int) -> tuple[list[Violation], int]:
    """Return what a schema refuses in a document, in order, and how much more there is than `most`.

    libxml2 says twice what is wrong with a value: which facet it breaks, then that it is not of its type. The first
    says more: the second is left out.
    """
    if schema.validate(root):
        return [], 0
    found: list[Violation] = []
    before: tuple[object, ...] = ()
    elements = Elements(root)
    for looked_at, entry in enumerate(schema.error_log):
        if len(found) == most:
            return found, len(schema.error_log) - looked_at
        code, message, is_value = in_french(entry.message)
        place = (entry.line, entry.path, entry.message.split(": ", 1)[0])
        if code == "schema.type" and place == before:
            continue
        before = place if "[facet " in entry.message else ()
        element = elements.at(entry.path or "")
        technical = entry.message[:TECHNICAL_CHARACTERS_MAX]
        if element is not None and is_private(element):
            value = element.get("V", "")
            message, technical = masked(message, value), masked(technical, value)
        found.append(
            Violation(
                code=code,
                message=message,
                technical=technical,
                who="ordonnateur" if is_value else "éditeur",
                next=_NEXT_VALUE if is_value else _NEXT,
                line=entry.line,
                xpath=entry.path or "",
                element=element,
            )
        )
    return found, 0


def in_french(message: str) -> tuple[str, str, bool]:
    """Return the code and the French sentence for a sentence of libxml2, and whether it is about a value."""
    parts = _SUBJECT.match(message)
    subject, rest = ("Le document", message)
    if parts:
        name = _plain(parts["element"])
        attribute = parts["attribute"]
        rest = parts["rest"]
        # PES keeps its values in V: people know the element by its name, not its attribute.
        is_about_element = attribute in (None, "V") or rest.startswith("The attribute")
        subject = name if is_about_element else f"L’attribut {_plain(attribute)} de {name}"
    for form in _FORMS:
        if found := form.pattern.match(rest):
            said = {name: _said(name, text or "") for name, text in found.groupdict().items()}
            if said.get("bound") == _UNKNOWN_TYPE and parts:
                said["bound"] = _type_by_name(_plain(parts["element"]))
            return f"schema.{form.code}", form.say({"subject": subject, **said}), form.is_value
    return "schema.other", f"{subject} ne respecte pas le schéma : {rest[:VALUE_CHARACTERS_MAX]}", False


def _said(name: str, text: str) -> str:
    match name:
        case "expected":
            return _expected(text)
        case "bound":
            return _bound(text)
        case "name":
            return _plain(text)
        case "value" if len(text) > VALUE_CHARACTERS_MAX:
            return f"{text[:VALUE_CHARACTERS_MAX]}… ({len(text)} caractères)"
        case _:
            return text


def _bound(text: str) -> str:
    if text in _PATTERNS:
        return _PATTERNS[text]
    if text.startswith(("xs:", "{", "xsd:")) or not text:
        return _type(_plain(text).rpartition(":")[2])
    return text.replace("'", "")


def _type(name: str) -> str:
    """Return what a type is; packs name theirs after the type of XML Schema that they restrict, in French or not."""
    if name in _TYPES:
        return _TYPES[name]
    known = {"bool": "boolean", "date": "date", "annee": "gYear", "montant": "decimal", "num": "decimal"}
    return next((_TYPES[kind] for sign, kind in known.items() if sign in name.lower()), _UNKNOWN_TYPE)


def _type_by_name(element: str) -> str:
    """Return what a value is by the name of its element: libxml2 does not name the types that have no name."""
    return next((_TYPES[kind] for sign, kind in _SIGNS.items() if element.startswith(sign)), _UNKNOWN_TYPE)


def _expected(text: str) -> str:
    names = [_plain(name) for name in re.findall(r"[^\s(),]+", text.partition("(")[2].rpartition(")")[0])]
    if not names:
        return ""
    return f" : il est attendu {names[0]}" if len(names) == 1 else f" : il est attendu l’un de {', '.join(names)}"


def _plain(name: str) -> str:
    """Return a name as people know it, without its namespace."""
    return name.rpartition("}")[2]

"""Makes documents from a schema pack: valid ones first, walking the schemas with a seeded chance."""

import posixpath
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lxml import etree

from pes.schemas.packs import PackFiles

XS = "{http://www.w3.org/2001/XMLSchema}"
DEPTH_MAX = 25
REPAIRS_MAX = 30
GOOD_MAX = 12
TYPED = frozenset({"boolean", "date", "dateTime", "gYear", "base64Binary", "ID"})
ENUMERATION = re.compile(r"element of the set \{(.*)\}", re.DOTALL)
ATTRIBUTE = re.compile(r"attribute '([^']*)'")
# Values of every kind that PES knows; each is good somewhere.
POOL = (
    *("1", "2", "01", "02", "10", "12.50", "99999999999999.99", "0", "7", "100", "2026", "20260202", "2026-02-02"),
    *("034990", "02A123", "0349901", "123", "00", "A1", "X", "texte", "AZ", "ABCDE", "x" * 9, "x" * 30, "é" * 100),
    *(
        "FR7630003017020002010412521",
        "SOGEFRPPXXX",
        "piece.pdf",
        "21349990800019",
        "210000012",
        "34998",
        "true",
        "a/b_c",
    ),
    *(
        "1234567",
        "123456789012",
        "1234567890123",
        "99999",
        "5.5",
        "12345",
        "0.01",
        "AB",
        "ABC",
        "ABCD",
        "12345678901",
    ),
    *("2026-02-02T12:00:00", "12:00:00", "010", "P1Y", "urn:x", "QUJD", "x" * 160, "x" * 14, "FR", "1.00", "09", "F"),
)
Node = etree._Element


@dataclass(frozen=True)
class Component:
    """A named part of a schema, and the schema that it is in."""

    element: Node
    schema: Node
    namespace: str

    def named(self, qname: str) -> tuple[str, str]:
        """Resolve a prefixed name as it stands in this schema."""
        prefix, _, name = qname.rpartition(":")
        return self.schema.nsmap.get(prefix or None) or self.namespace, name


class Generator:
    """Walks the schemas of one pack."""

    def __init__(self, pack: PackFiles, seed: int) -> None:
        self.random = random.Random(seed)
        self._parts: dict[tuple[str, str, str], Component] = {}
        self._ids = 0
        self._good: dict[tuple[str, str, str], list[str]] = {}
        parser = etree.XMLParser(remove_comments=True, no_network=True)
        schemas = {path: etree.fromstring(content, parser) for path, content in pack.files.items()}
        for path, schema in schemas.items():
            if schema.get("targetNamespace"):
                self._take(path, schema.get("targetNamespace", ""), schemas, set())

    def _take(self, path: str, namespace: str, schemas: Mapping[str, Node], seen: set[str]) -> None:
        """Take the parts of a schema and of those that it includes, which have its namespace."""
        if path in seen or path not in schemas:
            return
        seen.add(path)
        schema = schemas[path]
        for child in schema.iterchildren(etree.Element):
            kind = etree.QName(child).localname.replace("simpleType", "type").replace("complexType", "type")
            if kind == "include":
                beside = posixpath.join(posixpath.dirname(path), child.get("schemaLocation", ""))
                self._take(posixpath.normpath(beside), namespace, schemas, seen)
            else:
                self._parts.setdefault((kind, namespace, child.get("name", "")), Component(child, schema, namespace))

    def document(self, namespace: str, name: str, *, fullness: float) -> Node:
        """Return a document whose root is this element; `fullness` is the chance of what is optional."""
        self._fullness = fullness
        root = etree.Element(f"{{{namespace}}}{name}", nsmap={"n": namespace})
        self._fill(root, self._parts["element", namespace, name], 0)
        return root

    def _fill(self, into: Node, part: Component, depth: int) -> None:
        """Give an element what its declaration asks for."""
        element = part.element
        inline = next((child for child in element if child.tag in (f"{XS}complexType", f"{XS}simpleType")), None)
        if inline is not None:
            self._fill_type(into, Component(inline, part.schema, part.namespace), depth)
        elif element.get("type"):
            namespace, name = part.named(element.get("type", ""))
            if namespace == XS[1:-1]:
                into.text = self._builtin(name)
            else:
                self._fill_type(into, self._parts["type", namespace, name], depth)

    def _fill_type(self, into: Node, part: Component, depth: int) -> None:
        if part.element.tag == f"{XS}simpleType":
            into.text = self._value(into, "text()")
            return
        for child in part.element:
            self._fill_content(into, Component(child, part.schema, part.namespace), depth)

    def _fill_content(self, into: Node, part: Component, depth: int) -> None:
        element = part.element
        match etree.QName(element).localname:
            case "sequence" | "choice" | "group" | "element" | "any":
                self._particle(into, part, depth)
            case "attribute":
                self._attribute(into, part)
            case "simpleContent" | "complexContent":
                derived = element[0]
                if derived.tag == f"{XS}restriction" and len(derived):
                    for child in derived:
                        self._fill_content(into, Component(child, part.schema, part.namespace), depth)
                    return
                namespace, name = part.named(derived.get("base", ""))
                if namespace == XS[1:-1]:
                    into.text = self._builtin(name)
                else:
                    self._fill_type(into, self._parts["type", namespace, name], depth)
                for child in derived:
                    self._fill_content(into, Component(child, part.schema, part.namespace), depth)
            case _:
                pass

    def _particle(self, into: Node, part: Component, depth: int) -> None:
        for _ in range(self._times(part.element, depth)):
            match etree.QName(part.element).localname:
                case "sequence":
                    for child in part.element:
                        self._particle(into, Component(child, part.schema, part.namespace), depth)
                case "choice":
                    options = list(part.element)
                    if options:
                        self._particle(
                            into, Component(self.random.choice(options), part.schema, part.namespace), depth
                        )
                case "group":
                    namespace, name = part.named(part.element.get("ref", ""))
                    group = self._parts["group", namespace, name]
                    for child in group.element:
                        self._particle(into, Component(child, group.schema, group.namespace), depth)
                case "element":
                    self._element(into, part, depth)
                case _:
                    pass  # a wildcard: nothing is as good as anything

    def _element(self, into: Node, part: Component, depth: int) -> None:
        declared = part
        if part.element.get("ref"):
            namespace, name = part.named(part.element.get("ref", ""))
            declared = self._parts["element", namespace, name]
        is_global = declared.element.getparent() is declared.schema
        is_qualified = is_global or declared.schema.get("elementFormDefault") == "qualified"
        name = declared.element.get("name", "")
        child = etree.SubElement(into, f"{{{declared.namespace}}}{name}" if is_qualified else name)
        self._fill(child, declared, depth + 1)

    def _times(self, element: Node, depth: int) -> int:
        least = int(element.get("minOccurs", "1"))
        said = element.get("maxOccurs", "1")
        most = least + 2 if said == "unbounded" else int(said)
        if depth > DEPTH_MAX:
            return least
        times = least
        while times < most and self.random.random() < self._fullness:
            times += 1
        return times

    def _attribute(self, into: Node, part: Component) -> None:
        element = part.element
        name = element.get("name", "")
        if not name or (element.get("use") != "required" and self.random.random() > self._fullness):
            return
        base = self._base(part)
        into.set(name, element.get("fixed") or (self._builtin(base) if base in TYPED else self._value(into, name)))

    def _base(self, part: Component) -> str:
        """Return the built-in type that the type of an attribute comes down to; empty for one made otherwise."""
        restriction = part.element.find(f".//{XS}restriction")
        said = part.element.get("type") or (None if restriction is None else restriction.get("base"))
        if said is None:
            return ""
        namespace, name = part.named(said)
        return name if namespace == XS[1:-1] else self._base(self._parts["type", namespace, name])

    def _value(self, element: Node, attribute: str) -> str:
        """Return a value that was good in this place before, or any."""
        good = self._good.get(_place(element, attribute))
        if good and self.random.random() < 0.9:
            return self.random.choice(good)
        return self.random.choice(POOL)

    def repair(self, root: Node, schema: etree.XMLSchema) -> bool:
        """Give other values to whatever the schema refuses; say whether the document is valid in the end."""
        for _ in range(REPAIRS_MAX):
            if schema.validate(root):
                self._remember(root)
                return True
            for entry in schema.error_log:
                found = root.xpath(entry.path, namespaces=_names(root)) if entry.path else []
                for element in found if isinstance(found, list) else []:
                    if etree.iselement(element):
                        self._give_another(element, entry.message)
        return bool(schema.validate(root))

    def _give_another(self, element: Node, message: str) -> None:
        listed = ENUMERATION.search(message)
        options = re.findall(r"'([^']*)'", listed.group(1)) if listed else POOL
        attribute = ATTRIBUTE.search(message)
        if attribute and attribute.group(1) in element.attrib:
            element.set(attribute.group(1), self.random.choice(options))
        elif not len(element):
            element.text = self.random.choice(options)

    def _remember(self, root: Node) -> None:
        for element in root.iter(etree.Element):
            for attribute, value in element.attrib.items():
                good = self._good.setdefault(_place(element, str(attribute)), [])
                if value not in good and len(good) < GOOD_MAX:
                    good.append(str(value))

    def _builtin(self, name: str) -> str:
        make: dict[str, Callable[[], str]] = {
            "boolean": lambda: self.random.choice(["0", "1", "true", "false"]),
            "date": lambda: (
                f"20{self.random.randint(10, 29)}-0{self.random.randint(1, 9)}-1{self.random.randint(0, 9)}"
            ),
            "dateTime": lambda: "2026-02-02T12:00:00Z",
            "gYear": lambda: str(self.random.randint(1990, 2040)),
            "decimal": lambda: str(self.random.randint(1, 99)),
            "integer": lambda: str(self.random.randint(1, 99)),
            "base64Binary": lambda: self.random.choice(["", "QUJD", "QUJDRA=="]),
            "anyURI": lambda: "urn:x",
            "ID": self._id,
        }
        return make.get(name, lambda: "texte")()

    def _id(self) -> str:
        self._ids += 1
        return f"I{self._ids}"


def _place(element: Node, attribute: str) -> tuple[str, str, str]:
    parent = element.getparent()
    return ("" if parent is None else str(parent.tag), str(element.tag), attribute)


def _names(root: Node) -> dict[str, str]:
    names = {prefix: uri for one in root.iter(etree.Element) for prefix, uri in one.nsmap.items() if prefix}
    return {str(prefix): str(uri) for prefix, uri in names.items()}

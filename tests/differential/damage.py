"""Damages documents, each way that an export may be wrong: one function for each, given the document and chance."""

import copy
import random
from collections.abc import Callable

from lxml import etree

Node = etree._Element
Damage = Callable[[Node, random.Random], None]

VALUES = ("", " ", ".", "nc", "0", "000", "-1", "1.234", "x" * 600, "9" * 40, "2026-13-01", "é", "01 ", "True", "#")


def _any(root: Node, chance: random.Random) -> Node:
    found = [one for one in root.iter(etree.Element) if one is not root]
    return chance.choice(found) if found else root


def _with_value(root: Node, chance: random.Random) -> Node:
    found = [one for one in root.iter(etree.Element) if one.get("V") is not None]
    return chance.choice(found) if found else root


def missing_element(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    parent = one.getparent()
    if parent is not None:
        parent.remove(one)


def extra_element(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    one.insert(chance.randint(0, len(one)), etree.Element("Inconnu"))


def repeated_element(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    one.addnext(copy.deepcopy(one))


def reordered_elements(root: Node, chance: random.Random) -> None:
    found = [one for one in root.iter(etree.Element) if len(one) > 1]
    if found:
        one = chance.choice(found)
        one.append(one[0])


def moved_element(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    if one is not root:
        root.append(one)


def renamed_element(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    name = etree.QName(one)
    one.tag = f"{{{name.namespace}}}{name.localname.swapcase()}" if name.namespace else name.localname.swapcase()


def missing_attribute(root: Node, chance: random.Random) -> None:
    one = _with_value(root, chance)
    one.attrib.pop("V", None)


def unknown_attribute(root: Node, chance: random.Random) -> None:
    _any(root, chance).set(chance.choice(("W", "v", "Id", "{urn:x}V")), chance.choice(("a1", "1", "")))


def another_value(root: Node, chance: random.Random) -> None:
    _with_value(root, chance).set("V", chance.choice(VALUES))


def longer_value(root: Node, chance: random.Random) -> None:
    one = _with_value(root, chance)
    one.set("V", one.get("V", "") + one.get("V", "") + "9")


def shorter_value(root: Node, chance: random.Random) -> None:
    one = _with_value(root, chance)
    one.set("V", one.get("V", "")[:-1])


def value_of_another(root: Node, chance: random.Random) -> None:
    _with_value(root, chance).set("V", _with_value(root, chance).get("V", ""))


def another_case(root: Node, chance: random.Random) -> None:
    one = _with_value(root, chance)
    one.set("V", one.get("V", "").swapcase())


def text_where_none_may_be(root: Node, chance: random.Random) -> None:
    _any(root, chance).text = chance.choice(("texte", " \n ", "0"))


def another_namespace(root: Node, chance: random.Random) -> None:
    one = _any(root, chance)
    one.tag = f"{{{chance.choice(('urn:x', root.nsmap.get('n') or 'urn:y'))}}}{etree.QName(one).localname}"


def same_id(root: Node, chance: random.Random) -> None:
    found = [one for one in root.iter(etree.Element) if one.get("Id")]
    if len(found) > 1:
        chance.choice(found).set("Id", found[0].get("Id", ""))


DAMAGES: tuple[Damage, ...] = (
    missing_element,
    extra_element,
    repeated_element,
    reordered_elements,
    moved_element,
    renamed_element,
    missing_attribute,
    unknown_attribute,
    another_value,
    longer_value,
    shorter_value,
    value_of_another,
    another_case,
    text_where_none_may_be,
    another_namespace,
    same_id,
)

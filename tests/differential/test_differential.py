"""Our schema pack judges exactly as DGFiP's: the same verdict on thousands of documents, good and damaged."""

import copy
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest
from lxml import etree

from pes.schemas.packs import PES_ALLER, ROOTS, CompiledPack, PackFiles, built_in, compile_pack, read_pack
from tests.differential.damage import DAMAGES
from tests.differential.documents import Generator
from tests.real.official import official

SEEDS = (1, 2, 3)
DOCUMENTS_PER_SEED = 280  # each is then damaged three times
COPIES = (0, 1, 1, 2)  # how many damages each copy of a document gets


class Case(NamedTuple):
    root: str
    domain: str
    damages: tuple[str, ...]
    document: bytes


@cache
def ours() -> CompiledPack:
    return compile_pack(built_in())


def their_files() -> PackFiles:
    return read_pack(official("schemas_pes.v5.12"))


def cases(seed: int, source: PackFiles | None = None) -> Iterator[Case]:
    """Yield documents made from a pack, our own unless told otherwise."""
    generator = Generator(source or built_in(), seed)
    judge = ours() if source is None else compile_pack(source)
    for number in range(DOCUMENTS_PER_SEED):
        tag = ROOTS[number % len(ROOTS)] if number % 3 else PES_ALLER
        root = etree.QName(tag)
        made = generator.document(root.namespace or "", root.localname, fullness=(0.1, 0.3, 0.5)[number % 3])
        schema = judge.schema(tag)
        assert schema is not None
        generator.repair(made, schema)
        yield from damaged(tag, made, generator.random)


def damaged(tag: str, made: etree._Element, chance: random.Random) -> Iterator[Case]:
    for times in COPIES:
        document = copy.deepcopy(made)
        chosen = [chance.choice(DAMAGES) for _ in range(times)]
        for damage in chosen:
            damage(document, chance)
        domain = next((str(child.tag) for child in made if str(child.tag).startswith("PES_")), "")
        yield Case(tag, domain, tuple(damage.__name__ for damage in chosen), etree.tostring(document))


def verdict(pack: CompiledPack, document: bytes) -> bool | None:
    """Judge a document of its own: libxml2 marks the Ids of a tree that it has judged once."""
    root = etree.fromstring(document)
    schema = pack.schema(str(root.tag))
    return None if schema is None else schema.validate(root)


@pytest.mark.timeout(300)
def test_both_packs_agree_on_thousands_of_documents() -> None:
    theirs = compile_pack(their_files())
    counts: Counter[tuple[str, bool]] = Counter()
    for seed, source in (*((seed, None) for seed in SEEDS), *((seed, their_files()) for seed in SEEDS)):
        for case in cases(seed, source):
            judged = verdict(ours(), case.document)
            assert judged == verdict(theirs, case.document), (seed, case)
            for what in (case.root, case.domain, *case.damages, "all"):
                counts[what, bool(judged)] += 1
    total = counts["all", True] + counts["all", False]
    assert total >= 5000
    assert 0.2 < counts["all", False] / total < 0.8
    domains = ("PES_DepenseAller", "PES_RecetteAller", "PES_Facture", "PES_Marche", "PES_PJ")
    returns = ("PES_DepenseRetour", "PES_RecetteRetour", "PES_ClientRetour")
    for what in (*ROOTS, *domains, *returns):
        assert counts[what, True], what
        assert counts[what, False], what
    for damage in DAMAGES:
        assert counts[damage.__name__, False], damage


def test_both_packs_agree_on_real_documents_and_on_what_becomes_of_them() -> None:
    theirs = compile_pack(their_files())
    chance = random.Random(1)
    for path in sorted(official("samples").glob("*.xml")):
        real = path.read_bytes()
        assert verdict(ours(), real) == verdict(theirs, real), path
        made = etree.fromstring(real)
        for _ in range(60):
            for case in damaged(str(made.tag), made, chance):
                assert verdict(ours(), case.document) == verdict(theirs, case.document), (path, case)


def test_a_pack_that_differs_in_one_facet_is_noticed() -> None:
    theirs = compile_pack(their_files())
    other = compile_pack(changed(built_in(), b'<xs:maxLength value="160"/>', b'<xs:maxLength value="159"/>'))
    assert any(verdict(other, case.document) != verdict(theirs, case.document) for case in long_texts())


@pytest.mark.timeout(300)
def test_whatever_our_pack_would_forget_is_noticed() -> None:
    """Each optional element of dépense and recette, forgotten in turn, makes a good document of DGFiP's invalid."""
    documents = [case.document for case in cases(11, their_files()) if not case.damages]
    documents += [case.document for case in cases(12, their_files()) if not case.damages]
    good = [document for document in documents if verdict(ours(), document)]
    missed = []
    for name in ("depense.xsd", "recette.xsd"):
        for number in range(optional_elements(name)):
            without, forgotten = forgetting(name, number)
            other = compile_pack(PackFiles("x", {**built_in().files, name: without}))
            if all(verdict(other, document) for document in good if f"<{forgotten}".encode() in document):
                missed.append(forgotten)
    assert missed == []


def optional_elements(name: str) -> int:
    return len(etree.fromstring(built_in().files[name]).findall(".//{*}sequence/{*}element[@minOccurs='0']"))


def forgetting(name: str, number: int) -> tuple[bytes, str]:
    """Return a schema without one of its optional elements, and the name of that element."""
    schema = etree.fromstring(built_in().files[name])
    element = schema.findall(".//{*}sequence/{*}element[@minOccurs='0']")[number]
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)
    return etree.tostring(schema), element.get("name", "")


def changed(pack: PackFiles, old: bytes, new: bytes) -> PackFiles:
    assert any(old in content for content in pack.files.values())
    return PackFiles("other", {path: content.replace(old, new) for path, content in pack.files.items()})


def long_texts() -> Iterator[Case]:
    for case in cases(1):
        root = etree.fromstring(case.document)
        for element in root.iter("Obj", "ObjPce"):
            element.set("V", "x" * 160)
        yield Case(case.root, case.domain, ("long",), etree.tostring(root))


def test_documents_made_from_our_pack_are_valid_under_it() -> None:
    generator = Generator(built_in(), 9)
    valid: Counter[str] = Counter()
    for number in range(100):
        root = etree.QName(ROOTS[number % len(ROOTS)])
        made = generator.document(root.namespace or "", root.localname, fullness=0.3)
        schema = ours().schema(root.text)
        assert schema is not None
        valid[root.localname] += generator.repair(made, schema)
    assert set(valid) == {etree.QName(root).localname for root in ROOTS}
    assert sum(valid.values()) >= 70

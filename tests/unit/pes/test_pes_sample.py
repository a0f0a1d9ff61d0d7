import gzip
import re
import tracemalloc
from base64 import b64decode
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from pes.sample import (
    PJ_TEXT_BYTES_MAX,
    SampleSpec,
    build_sample,
    iban_of,
    iter_sample,
    large_spec,
    luhn_key,
    siret_of,
    write_large,
    write_sample,
)
from tests.real.official import official_schema

MIB = 2**20

digits = st.text("0123456789", min_size=14, max_size=14)
specs = st.builds(
    SampleSpec,
    number=st.integers(1, 99_999),
    siret=digits,
    cod_col=st.integers(1, 999).map("{:03d}".format),
    cod_bud=st.from_regex(r"[0-9A-Z][0-9]", fullmatch=True).filter(str.isascii),
    id_post=st.sampled_from(["034990", "0349901", "02A123", "02B1234"]),
    exercice=st.integers(2000, 2099),
    depense_bordereaux=st.integers(0, 3),
    recette_bordereaux=st.integers(0, 3),
    pieces_per_bordereau=st.integers(1, 4),
    lignes_per_piece=st.integers(1, 3),
    pj_per_piece=st.integers(0, 2),
    pj_bytes=st.integers(0, 5_000),
    is_dematerialised=st.booleans(),
    has_bordereau_ids=st.booleans(),
    nomfic=st.sampled_from([None, 'PES n° 1 <d\'été> & "cœur".xml', "x" * 100]),
)


def parse(document: bytes) -> etree._Element:
    return etree.fromstring(document, etree.XMLParser(resolve_entities=False, no_network=True))


def values(node: etree._Element, path: str) -> list[str]:
    return [found.attrib["V"] for found in node.iterfind(path)]


def total(node: etree._Element, path: str) -> Decimal:
    return sum(map(Decimal, values(node, path)), Decimal(0))


@pytest.fixture(scope="session")
def schema() -> etree.XMLSchema:
    return official_schema()


@settings(deadline=None, max_examples=60)
@given(spec=specs)
def test_every_spec_makes_a_document_that_the_official_schema_accepts(
    schema: etree.XMLSchema, spec: SampleSpec
) -> None:
    schema.assertValid(parse(build_sample(spec)))


@settings(deadline=None, max_examples=40)
@given(spec=specs)
def test_a_spec_always_makes_the_same_bytes(spec: SampleSpec) -> None:
    assert b"".join(iter_sample(spec)) == build_sample(spec)


@settings(deadline=None, max_examples=40)
@given(spec=specs)
def test_the_header_says_what_was_asked(spec: SampleSpec) -> None:
    root = parse(build_sample(spec))
    for name, value in {
        "IdColl": spec.siret,
        "IdPost": spec.id_post,
        "CodCol": spec.cod_col,
        "CodBud": spec.cod_bud,
        "NomFic": spec.name,
    }.items():
        assert values(root, f".//{name}") == [value]
    assert root.get("Id")
    assert len(root.findall("PES_DepenseAller/Bordereau")) == spec.depense_bordereaux
    assert len(root.findall("PES_RecetteAller/Bordereau")) == spec.recette_bordereaux
    domains = (spec.depense_bordereaux > 0) + (spec.recette_bordereaux > 0)
    assert values(root, ".//InfoDematerialisee") == ["01"[spec.is_dematerialised]] * domains
    assert all(("Id" in bordereau.attrib) is spec.has_bordereau_ids for bordereau in root.iter("Bordereau"))
    dates = {day for path in (".//DteStr", ".//DteBordEm") for day in values(root, path)}
    assert dates == {spec.emitted_on.isoformat()}
    assert spec.emitted_on.year == spec.exercice


@settings(deadline=None, max_examples=40)
@given(spec=specs)
def test_counts_and_sums_are_those_of_the_content(spec: SampleSpec) -> None:
    root = parse(build_sample(spec))
    for domaine, amount in {"PES_DepenseAller": "MtBordHT", "PES_RecetteAller": "MtBordHt"}.items():
        bordereaux = root.findall(f"{domaine}/Bordereau")
        for bordereau in bordereaux:
            assert values(bordereau, "BlocBordereau/NbrPce") == [str(len(bordereau.findall("Piece")))]
            assert total(bordereau, f"BlocBordereau/{amount}") == total(bordereau, "Piece//MtHT") > 0
            assert total(bordereau, ".//MtCumulAnnuel") >= total(bordereau, f".//{amount}")
        for before, after in pairwise(bordereaux):
            growth = total(after, ".//MtCumulAnnuel") - total(before, ".//MtCumulAnnuel")
            assert growth == total(after, f".//{amount}")


@settings(deadline=None, max_examples=40)
@given(spec=specs)
def test_every_pj_is_referred_to_once_and_every_reference_has_its_pj(spec: SampleSpec) -> None:
    root = parse(build_sample(spec))
    referred, present = (
        Counter(values(root, ".//PJRef/IdUnique")),
        Counter(values(root, "PES_PJ/PJ/IdUnique")),
    )
    assert referred == present
    assert set(present.values()) <= {1}
    pieces = (spec.depense_bordereaux + spec.recette_bordereaux) * spec.pieces_per_bordereau
    assert present.total() == pieces * spec.pj_per_piece
    assert sorted(values(root, ".//PJRef/NomPJ")) == sorted(values(root, "PES_PJ/PJ/NomPJ"))


@settings(deadline=None, max_examples=40)
@given(spec=specs, number=st.integers(1, 99_999), pieces=st.integers(1, 4))
def test_two_numbers_share_no_name_and_no_identifier(spec: SampleSpec, number: int, pieces: int) -> None:
    assume(number != spec.number)
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    other = SampleSpec(**fields | {"number": number, "pieces_per_bordereau": pieces, "nomfic": None})

    def identifiers(of: SampleSpec) -> set[str]:
        root = parse(build_sample(of))
        paths = ("NomFic", "IdBord", "IdPce", "PJ/IdUnique")
        named = {f"{path} {value}" for path in paths for value in values(root, f".//{path}")}
        return named | {str(node.get("Id")) for node in root.iter() if node.get("Id")}

    assert identifiers(spec).isdisjoint(identifiers(other))


def test_the_bytes_are_the_declared_latin_1() -> None:
    document = build_sample(SampleSpec())
    assert b'encoding="ISO-8859-1"' in document[:50]
    assert "Trésorerie".encode("iso-8859-1") in document
    assert parse(document).find(".//LibellePoste") is not None


def test_a_character_outside_latin_1_survives_in_the_name() -> None:
    document = build_sample(SampleSpec(nomfic="vœux €"))
    assert values(parse(document), ".//NomFic") == ["vœux €"]


@pytest.mark.parametrize("pj_bytes", [0, 2_000, 300_000])
def test_a_pj_is_a_real_pdf_of_the_size_asked(pj_bytes: int) -> None:
    fichier = parse(build_sample(SampleSpec(pj_bytes=pj_bytes, pieces_per_bordereau=1))).find(".//Fichier")
    assert fichier is not None
    packed = b64decode(fichier.text or "", validate=True)
    assert packed[4:8] == bytes(4)  # gzip's date
    pdf = gzip.decompress(packed)
    assert abs(len(pdf) - max(pj_bytes, 950)) < 100
    start = re.search(rb"startxref\n(\d+)\n%%EOF\n$", pdf)
    assert pdf.startswith(b"%PDF-1.")
    assert start is not None
    entries = pdf[int(start[1]) :].split(b"trailer")[0].splitlines()
    assert entries[:2] == [b"xref", b"0 7"]
    for number, entry in enumerate(entries[3:], start=1):
        assert pdf[int(entry.split()[0]) :].startswith(b"%d 0 obj\n" % number)
    for length, stream in re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream\nendobj", pdf, re.DOTALL):
        assert int(length) == len(stream)


def test_check_digits_are_right() -> None:
    root = parse(build_sample(SampleSpec(depense_bordereaux=10, recette_bordereaux=10)))
    sirets = {*values(root, ".//IdTiers"), *values(root, ".//IdColl")}
    assert len(sirets) > 3
    for siret in sirets:
        assert luhn_key(siret[:8]) == siret[8]
        assert luhn_key(siret[:13]) == siret[13]
    for iban in values(root, ".//IBAN"):
        assert len(iban) == 27
        assert int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def test_known_check_digits() -> None:
    assert luhn_key("7992739871") == "3"  # the textbook example of Luhn's formula
    assert siret_of("213499908") == "21349990800019" == SampleSpec().siret
    assert iban_of(0).startswith("FR76")  # so is every French IBAN whose RIB key is right


@pytest.mark.parametrize(
    "wrong",
    [
        {"cod_col": "000"},
        {"cod_col": "12"},
        {"cod_bud": "0A"},
        {"id_post": "000000"},
        {"siret": "123"},
        {"siret": "１２３４５６７８９０１２３４"},
        {"exercice": 1999},
        {"number": 0},
        {"number": 100_000},
        {"nomfic": ""},
        {"nomfic": "nc"},
        {"nomfic": "a\tb"},
        {"depense_bordereaux": 11, "pieces_per_bordereau": 100},
    ],
)
def test_what_would_be_invalid_is_refused(wrong: dict[str, str | int]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        SampleSpec(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("bytes_total", [20_000, 100_000, 3 * MIB, 20 * MIB])
def test_a_large_document_has_the_size_asked_within_one_percent(tmp_path: Path, bytes_total: int) -> None:
    path = tmp_path / "large.xml"
    size = write_large(path, bytes_total)
    assert size == path.stat().st_size
    assert abs(size - bytes_total) <= bytes_total // 100


def test_a_large_document_is_valid_and_ordinary_parsers_accept_it(tmp_path: Path, schema: etree.XMLSchema) -> None:
    path = tmp_path / "large.xml"
    write_large(path, 30 * MIB, SampleSpec(number=7, has_bordereau_ids=False))
    root = etree.parse(path).getroot()
    schema.assertValid(root)
    sizes = [len(fichier.text or "") for fichier in root.iter("Fichier")]
    assert PJ_TEXT_BYTES_MAX // 2 < max(sizes) < 10_000_000


def test_a_document_of_128_mib_is_written_in_bounded_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        size = write_large(tmp_path / "large.xml", 128 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(size - 128 * MIB) < 1.28 * MIB
    assert peak < 2 * MIB


def test_a_large_document_is_refused_when_too_few_bytes_are_asked() -> None:
    with pytest.raises(ValueError, match="bytes_total"):
        large_spec(1_000)


def test_what_is_written_is_what_is_built(tmp_path: Path) -> None:
    spec = SampleSpec(number=42, recette_bordereaux=1)
    assert write_sample(tmp_path / "pes.xml", spec) == len(build_sample(spec))
    assert (tmp_path / "pes.xml").read_bytes() == build_sample(spec)

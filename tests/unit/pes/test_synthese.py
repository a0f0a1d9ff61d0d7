"""The synthèse: what it says of a flux, exactly; and the difference of two of them."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from pes.difference import differences, index_differences
from pes.reading.xml import parse
from pes.sample import SampleSpec, build_sample
from pes.synthese import FIELD_CHARACTERS_MAX, PAGE_LIGNES, PAGE_PIECES, Synthese, read_synthese
from tests.differential.damage import DAMAGES
from tests.judging import changed_sample, replacing


def synthese_of(content: bytes) -> Synthese:
    return read_synthese(parse(content))


def pieces_of(content: bytes) -> list[Any]:
    return list(synthese_of(content).pieces())


def test_the_index_says_who_what_and_how_much() -> None:
    spec = SampleSpec(depense_bordereaux=2, recette_bordereaux=1, pieces_per_bordereau=3, lignes_per_piece=2)
    index: Any = synthese_of(build_sample(spec)).index
    assert index["header"]["nomfic"] == spec.name
    assert index["header"]["cod_col"] == "123"
    assert [domain["domain"] for domain in index["domains"]] == ["depense", "recette"]
    assert index["totals"] | {"amounts": None, "tiers": None} == {
        "bordereaux": 3,
        "pieces": 9,
        "lignes": 18,
        "tiers": None,
        "attachments": 9,
        "amounts": None,
    }
    for domain in index["domains"]:
        declared = sum(Decimal(one["amount"]) for one in domain["bordereaux"])
        assert Decimal(index["totals"]["amounts"][domain["domain"]]) == declared
        assert all(one["amount"] == one["lignes_total"] for one in domain["bordereaux"])
    assert index["missing_attachments"] == []
    assert all(one["referenced_by"] for one in index["attachments"])


def test_everything_is_json_and_amounts_are_text() -> None:
    synthese = synthese_of(build_sample(SampleSpec()))
    assert json.loads(json.dumps(synthese.index)) == synthese.index
    assert {type(piece["amount"]) for piece in synthese.pieces()} == {str}


def test_large_flux_come_in_pages() -> None:
    pages = synthese_of(build_sample(SampleSpec(pieces_per_bordereau=2 * PAGE_PIECES + 1, pj_per_piece=0))).pages
    assert [len(json.loads(page)) for page in pages] == [PAGE_PIECES, PAGE_PIECES, 1]


def test_a_piece_of_very_many_lignes_is_cut_counted_and_summed() -> None:
    ligne = (
        '<LigneDePiece><BlocLignePiece><InfoLignePce><MtHT V="0.01"/></InfoLignePce></BlocLignePiece></LigneDePiece>'
    )
    content = changed_sample(replacing("(?=</Piece>)", ligne * (3 * PAGE_LIGNES)))
    pieces = pieces_of(content)
    assert len(pieces[0]["lignes"]) == PAGE_LIGNES
    assert pieces[0]["lignes_left_out"] == 2 * PAGE_LIGNES + 1
    assert (
        Decimal(pieces[0]["amount"]) == Decimal(pieces[0]["lignes"][0]["amount"]) + Decimal("0.01") * 3 * PAGE_LIGNES
    )
    assert len(synthese_of(content).pages) == 2


def test_a_sum_is_exact() -> None:
    content = changed_sample(replacing(r'<MtHT V="[^"]*"', '<MtHT V="0.10"', count=0), lignes_per_piece=3)
    assert pieces_of(content)[0]["amount"] == "0.30"


def test_what_is_private_is_masked() -> None:
    content = changed_sample(
        replacing('<NatIdTiers V="01"', '<NatIdTiers V="04"'), replacing('(?<=<IdTiers V=")[^"]*', "185059999000112")
    )
    text = json.dumps(pieces_of(content), ensure_ascii=False)
    assert "185059999000112" not in text
    iban = pieces_of(content)[0]["lignes"][0]["tiers"][0]["iban"]
    assert "•••" in iban
    assert len(iban) == 11


def test_the_fields_of_a_hostile_file_are_cut() -> None:
    content = changed_sample(replacing('(?<=<Obj V=")[^"]*', "x" * 1_000_000))
    assert len(pieces_of(content)[0]["object"]) == FIELD_CHARACTERS_MAX


def test_a_reference_without_its_attachment_is_listed() -> None:
    index: Any = synthese_of(changed_sample(replacing("<PJ>.*?</PJ>", ""))).index
    assert len(index["missing_attachments"]) == 1


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_damaged_flux_has_a_synthese_all_the_same(seed: int) -> None:
    chance = random.Random(seed)
    root = parse(build_sample(SampleSpec(recette_bordereaux=1)))
    for _ in range(5):
        chance.choice(DAMAGES)(root, chance)
    synthese = read_synthese(root)
    assert json.dumps(synthese.index)
    assert len(list(synthese.pieces())) == synthese.index["pieces_total"]


@pytest.mark.parametrize(
    "text", ["<PES_Depense/>", "<PES_DepenseAller><Bordereau/></PES_DepenseAller>", "<PES_PJ><PJ/></PES_PJ>"]
)
def test_a_flux_with_holes_has_a_synthese_all_the_same(text: str) -> None:
    assert read_synthese(etree.fromstring(f"<r>{text}</r>")).index["format"] == "heliotrope.synthese/1"


OLD = build_sample(SampleSpec(pieces_per_bordereau=3, lignes_per_piece=2))


def test_a_flux_does_not_differ_from_itself() -> None:
    found = differences(pieces_of(OLD), pieces_of(OLD))
    assert (found["added"], found["removed"], found["changed"], found["unchanged"]) == ([], [], [], 3)


def test_numbers_are_compared_as_numbers_and_order_does_not_count() -> None:
    number = pieces_of(OLD)[0]["number"]
    other = replacing(f'<IdPce V="{number}"', f'<IdPce V="0{number}"')(OLD.decode("latin-1")).encode("latin-1")
    found = differences(pieces_of(OLD), list(reversed(pieces_of(other))))
    assert found["unchanged"] == 3


def test_an_amount_that_changed_is_told_with_the_ligne() -> None:
    new = replacing('(?<=<MtHT V=")[^"]*', "1.00")(OLD.decode("latin-1")).encode("latin-1")
    found: Any = differences(pieces_of(OLD), pieces_of(new))
    (piece,) = found["changed"]
    assert [(change["field"], change.get("ligne")) for change in piece["changes"]] == [
        ("amount", None),
        ("amount", "1"),
    ]
    total = found["totals"]["depense"]
    assert Decimal(total["after"]) - Decimal(total["before"]) == Decimal(total["difference"]) != 0


def test_pieces_that_came_and_went_are_told_and_swap_when_the_versions_do() -> None:
    old, new = pieces_of(OLD), pieces_of(OLD)[1:] + pieces_of(build_sample(SampleSpec(number=2)))
    there: Any = differences(old, new)
    back: Any = differences(new, old)
    assert (len(there["added"]), len(there["removed"])) == (2, 1)
    assert (there["added"], there["removed"]) == (back["removed"], back["added"])


def test_pieces_that_share_a_number_are_paired_in_order() -> None:
    pieces = pieces_of(OLD)
    twice = [pieces[0], pieces[0] | {"object": "autre"}]
    assert differences(twice, twice)["changed"] == []
    assert len(differences(twice, twice[:1])["removed"]) == 1  # type: ignore[arg-type]  # a list of pièces


def index_changes(new: bytes) -> Any:
    return index_differences(synthese_of(OLD).index, synthese_of(new).index)


def edited(pattern: str, value: str) -> bytes:
    return replacing(pattern, value)(OLD.decode("latin-1")).encode("latin-1")


def test_what_changed_in_the_header_or_in_a_bordereau_itself_is_told() -> None:
    assert index_changes(OLD) == {"header": [], "bordereaux": []}
    assert [one["field"] for one in index_changes(edited('(?<=<NomFic V=")[^"]*', "AUTRE"))["header"]] == ["nomfic"]
    (bordereau,) = index_changes(edited('(?<=<DteBordEm V=")[^"]*', "2026-03-01"))["bordereaux"]
    assert [one["field"] for one in bordereau["changes"]] == ["emitted_on"]


def test_a_change_in_the_middle_of_an_iban_is_seen_although_it_is_masked() -> None:
    new = edited(r'(?<=<IBAN V="[A-Z0-9]{12})[0-9]', "X")
    was, now = (pieces_of(content)[0]["lignes"][0]["tiers"][0] for content in (OLD, new))
    assert was["iban"] == now["iban"]
    found: Any = differences(pieces_of(OLD), pieces_of(new))
    assert [change["field"] for change in found["changed"][0]["changes"]] == ["tiers"]

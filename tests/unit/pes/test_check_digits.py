"""Check digits: identifiers that are right, and the same with one figure wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pes.controls.check_digits import is_bic, is_iban, is_nir, is_rib, is_siren, is_siret
from pes.sample import iban_of, luhn_key

DIGITS = st.text("0123456789", min_size=1, max_size=20)


@given(st.text("0123456789", min_size=8, max_size=8), st.text("0123456789", min_size=4, max_size=4))
def test_a_siren_and_a_siret_are_known_by_their_keys(start: str, number: str) -> None:
    siren = start + luhn_key(start)
    siret = siren + number + luhn_key(siren + number)
    assert is_siren(siren)
    assert is_siret(siret)
    for place in range(14):
        wrong = siret[:place] + str((int(siret[place]) + 1) % 10) + siret[place + 1 :]
        assert not is_siret(wrong) or wrong.startswith("356000000")


def test_the_etablissements_of_la_poste_have_a_rule_of_their_own() -> None:
    assert is_siret("35600000000048")  # its head office has an ordinary key
    assert is_siret("35600000009075")  # the others: their digits come to a multiple of 5
    assert not is_siret("35600000009076")


@given(st.integers(0, 999_999_999))
def test_an_iban_is_known_by_its_key(number: int) -> None:
    iban = iban_of(number)
    assert is_iban(iban)
    wrong = iban[:10] + str((int(iban[10]) + 1) % 10) + iban[11:]
    assert not is_iban(wrong)
    assert not is_iban(iban.lower())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("SOGEFRPP", True), ("SOGEFRPPXXX", True), ("sogefrpp", False), ("SOGEFRP", False), ("SOGEFRPPXX", False)],
)
def test_a_bic_has_8_or_11_capitals(text: str, is_one: bool) -> None:
    assert is_bic(text) is is_one


@pytest.mark.parametrize(
    ("parts", "is_one"),
    [
        (("30001", "00866", "C7850000000", "67"), True),
        (("30001", "866", "C7850000000", "67"), True),
        (("30001", "00866", "C7850000001", "67"), False),
        (("30001", "00866", "C78500000000", "67"), False),
        (("", "", "", ""), False),
    ],
)
def test_the_parts_of_a_rib_agree(parts: tuple[str, str, str, str], is_one: bool) -> None:
    assert is_rib(*parts) is is_one


@pytest.mark.parametrize("start", ["1850534999001", "285052A999001", "1850575999001"])
def test_a_nir_is_known_by_its_key(start: str) -> None:
    number = int(start.replace("2A", "19").replace("2B", "18"))
    key = f"{97 - number % 97:02d}"
    assert is_nir(start + key)
    assert not is_nir(start + f"{(int(key) + 1) % 97:02d}")
    assert not is_nir(start)


@given(st.text(max_size=30))
def test_any_text_is_told_apart_without_an_exception(text: str) -> None:
    for is_one in (is_siren, is_siret, is_nir, is_iban, is_bic):
        assert is_one(text) in (True, False)
    assert is_rib(text, text, text, text) in (True, False)

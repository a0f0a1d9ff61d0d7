"""What a schema refuses, said in French: one sentence for each kind, with the code that programs rely on."""

import random

import pytest
from lxml import etree

from pes.schemas.judging import in_french, violations
from pes.schemas.packs import PES_ALLER
from tests.differential.damage import DAMAGES
from tests.judging import changed_sample, judged_sample, pack, replacing

SAID = [
    (
        "Element 'A': Missing child element(s). Expected is ( B ).",
        "missing-element",
        "A est incomplet : il est attendu B.",
    ),
    (
        "Element '{urn:x}A': This element is not expected. Expected is one of ( B, {urn:y}C ).",
        "unexpected-element",
        "A n’est pas à sa place : il est attendu l’un de B, C.",
    ),
    ("Element 'A': This element is not expected.", "unexpected-element", "A n’est pas à sa place."),
    ("Element 'A': The attribute 'V' is required but missing.", "missing-attribute", "A n’a pas d’attribut V."),
    (
        "Element 'A', attribute 'W': The attribute 'W' is not allowed.",
        "unexpected-attribute",
        "A a un attribut W, que le schéma n’admet pas.",
    ),
    (
        (
            "Element 'A', attribute 'V': [facet 'maxLength'] The value 'abc' has a length of '3'; "
            "this exceeds the allowed maximum length of '2'."
        ),
        "too-long",
        "A vaut « abc », soit 3 caractères ; 2 au plus sont admis.",
    ),
    (
        "Element 'A', attribute 'V': [facet 'enumeration'] The value 'x' is not an element of the set {'01', '02'}.",
        "enumeration",
        "A vaut « x » ; les valeurs admises sont : 01, 02.",
    ),
    (
        "Element 'A', attribute 'V': [facet 'pattern'] The value '0' is not accepted by the pattern '.*[^0]+.*'.",
        "pattern",
        "A vaut « 0 », qui n’a pas la forme attendue (au moins un caractère autre que 0).",
    ),
    (
        "Element 'A', attribute 'V': [facet 'minExclusive'] The value '0' must be greater than '0'.",
        "too-small",
        "A vaut « 0 » ; il faut plus que 0.",
    ),
    (
        "Element 'A', attribute 'V': 'x' is not a valid value of the atomic type 'xs:date'.",
        "type",
        "A vaut « x », qui n’est pas une date (AAAA-MM-JJ).",
    ),
    (
        "Element 'A', attribute 'V': 'x' is not a valid value of the local atomic type.",
        "type",
        "A vaut « x », qui n’est pas une valeur du type attendu.",
    ),
    (
        "Element 'A': Character content is not allowed, because the content type is empty.",
        "text",
        "A contient du texte, là où seuls des éléments sont admis.",
    ),
    (
        (
            "Element 'A', attribute 'MIMEType': [facet 'length'] The value 'x' has a length of '1'; "
            "this differs from the allowed length of '2'."
        ),
        "length",
        "L’attribut MIMEType de A vaut « x », soit 1 caractères ; il en faut exactement 2.",
    ),
    ("Something never seen.", "other", "Le document ne respecte pas le schéma : Something never seen."),
]


@pytest.mark.parametrize(("said", "code", "sentence"), SAID, ids=lambda one: one[:20])
def test_each_kind_of_violation_has_its_sentence(said: str, code: str, sentence: str) -> None:
    found, message, _ = in_french(said)
    assert (found, message) == (f"schema.{code}", sentence)


def test_a_long_value_is_quoted_with_its_length() -> None:
    said = "Element 'A', attribute 'V': [facet 'pattern'] The value '{}' is not accepted by the pattern 'x'."
    _, message, _ = in_french(said.format("y" * 5000))
    assert "5000 caractères" in message
    assert len(message) < 300


def test_everything_that_damage_can_do_has_a_sentence_of_its_own() -> None:
    chance = random.Random(3)
    seen = set()
    for number in range(400):
        root = etree.fromstring(changed_sample(number=1 + number % 3, recette_bordereaux=1))
        DAMAGES[number % len(DAMAGES)](root, chance)
        schema = pack().schema(PES_ALLER)
        assert schema is not None
        for violation in violations(schema, root, 100)[0]:
            assert violation.code != "schema.other", violation.technical
            seen.add(violation.code)
    assert len(seen) >= 10


def test_a_value_that_breaks_a_facet_is_told_once() -> None:
    (finding,) = judged_sample(replacing('(?<=<CP V=")[^"]*', "1234567890")).findings
    assert (finding.code, finding.where.element) == ("schema.too-long", "CP")


def test_who_keeps_the_accounts_corrects_values_and_the_editor_corrects_structure() -> None:
    (value,) = judged_sample(replacing('(?<=<CP V=")[^"]*', "1234567890")).findings
    (structure,) = judged_sample(replacing('<Ville V="[^"]*"/>', "")).findings
    assert (value.who, structure.who) == ("ordonnateur", "éditeur")

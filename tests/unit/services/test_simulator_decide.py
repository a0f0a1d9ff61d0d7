"""What the simulator answers."""

import pytest
from lxml import etree

from pes.reading.xml import ACQUIT_V2
from pes.sample import SampleSpec, build_sample
from services.simulator.decide import Answer, ReplyKind, answer
from tests.real.official import ACQUIT, official_schema

PAPER = build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1, is_dematerialised=False))
UNSIGNED = build_sample(SampleSpec(depense_bordereaux=2))


def answered(document: bytes, reply: ReplyKind = "ack") -> Answer:
    found = answer(document, "flux.xml", reply)
    assert found is not None
    return found


def values(found: Answer, path: str) -> list[str]:
    return [element.get("V") or "" for element in etree.fromstring(found.document).iterfind(path)]


def test_a_good_flux_is_acknowledged_part_by_part() -> None:
    found = answered(PAPER)
    assert found.is_ok
    assert found.codique == "034990"
    assert values(found, "ACQUIT/ElementACQUIT/DomaineAck") == ["5", "5", "6", *["4"] * 6]
    assert set(values(found, "ACQUIT/ElementACQUIT/EtatAck")) == {"1"}
    assert values(found, "ACQUIT/ElementACQUIT/NumBord") == ["100", "101", "100"]
    assert values(found, "ACQUIT/ElementACQUIT/ExerciceBord") == ["2026"] * 3
    assert len(set(values(found, "ACQUIT/ElementACQUIT/IdUnique"))) == 6


def test_the_header_is_the_one_of_the_flux() -> None:
    found = answered(PAPER)
    root = etree.fromstring(found.document)
    assert root.tag == f"{{{ACQUIT_V2}}}PES_ACQUIT"
    assert found.document.startswith(b"<?xml version='1.0' encoding='ISO-8859-1'?>")
    assert values(found, "Enveloppe/Parametres/NomFic") == ["PESALR1_21349990800019123002026_00001"]
    assert values(found, "Enveloppe/Parametres/TypFic") == ["PESALR1"]
    assert values(found, "Enveloppe/Emetteur/Adresse") == ["Jeu d'essai, données fictives"]
    assert values(found, "Enveloppe/Recepteur/Sigle") == ["HELIOS"]
    assert values(found, "EnTetePES/CodCol") == ["123"]
    assert values(found, "EnTetePES/LibelleColBud") == ["Commune de Brumeval-les-Étangs"]


def test_dematerialised_bordereaux_must_be_signed() -> None:
    found = answered(UNSIGNED)
    assert not found.is_ok
    assert values(found, "ACQUIT/ElementACQUIT/DomaineAck") == ["3", "3"]
    assert values(found, "ACQUIT/ElementACQUIT/NumBord") == ["100", "101"]
    assert set(values(found, ".//NumAnoAck")) == {"ERREUR_SIGNATURE_BORDEREAU_INCOMPLETE"}


def test_bordereaux_on_paper_must_not_be_signed() -> None:
    signature = b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'
    found = answered(PAPER.replace(b"\n</Bordereau>", signature + b"</Bordereau>", 1))
    assert not found.is_ok
    assert values(found, ".//NumAnoAck") == ["ERREUR_PES_SIGNATURE"]


def test_signed_bordereaux_are_acknowledged() -> None:
    signature = b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'
    assert answered(UNSIGNED.replace(b"\n</Bordereau>", signature + b"</Bordereau>")).is_ok


def test_a_truncated_flux_is_refused_with_the_header_that_could_be_read() -> None:
    found = answered(PAPER[:2500])
    assert not found.is_ok
    assert values(found, "ACQUIT/ElementACQUIT/DomaineAck") == ["0"]
    assert values(found, ".//NumAnoAck") == ["ERREUR_SCHEMA_INCOMPLET"]
    assert values(found, "Enveloppe/Parametres/NomFic") == ["PESALR1_21349990800019123002026_00001"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "ERREUR_FLUX_VIDE"),
        (b"PK\x03\x04", "ERREUR_SCHEMA_INCOMPLET"),
        (b"<autre/>", "ERREUR_SCHEMA_INCOMPLET"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "ERREUR_SCHEMA_INCOMPLET"),
        ("<a/>".encode("utf-16"), "ERREUR_ENCODING"),
    ],
    ids=["empty", "zip", "wrong root", "doctype", "utf-16"],
)
def test_what_is_no_flux_is_refused(document: bytes, code: str) -> None:
    found = answer(document, "flux\x01\udcff.xml", "ack")
    assert found is not None
    assert values(found, ".//NumAnoAck") == [code]
    assert values(found, "Enveloppe/Parametres/TypFic") == ["UNKNOWN_TYPE"]
    assert values(found, "Enveloppe/Parametres/NomFic") == ["flux??.xml"]


def test_an_empty_flux_is_never_answered() -> None:
    assert answer(build_sample(SampleSpec(depense_bordereaux=0)), "flux.xml", "ack") is None


def test_the_scenario_can_refuse_the_whole_flux() -> None:
    found = answered(PAPER, "nack")
    assert not found.is_ok
    assert values(found, ".//EtatAck") == ["0"]


def test_the_scenario_can_refuse_one_pj() -> None:
    found = answered(PAPER, "partial")
    assert not found.is_ok
    assert values(found, ".//EtatAck") == [*["1"] * 8, "0"]
    assert values(found, ".//NumAnoAck") == ["ERREUR_DOUBLON_PJ"]


def test_the_scenario_can_refuse_one_bordereau_and_names_the_piece() -> None:
    bare = SampleSpec(depense_bordereaux=2, pj_per_piece=0, is_dematerialised=False)
    found = answered(build_sample(bare), "partial")
    assert values(found, ".//EtatAck") == ["1", "0"]
    assert values(found, ".//NumAnoAck") == ["ERREUR_DOUBLON_BORDEREAU", "ERREUR_DOUBLON_PIECE"]
    assert len(values(found, ".//NumPiece")) == 1


def test_the_scenario_can_be_silence() -> None:
    assert answer(PAPER, "flux.xml", "silent") is None


@pytest.mark.parametrize("reply", ["ack", "nack", "partial"])
@pytest.mark.parametrize("document", [PAPER, UNSIGNED, PAPER[:2500]], ids=["good", "unsigned", "truncated"])
def test_answers_are_valid_for_the_official_schema(document: bytes, reply: ReplyKind) -> None:
    official_schema(ACQUIT).assertValid(etree.fromstring(answered(document, reply).document))


def test_two_files_with_one_header_have_answers_of_their_own() -> None:
    first, again, other = (answer(PAPER, "flux.xml", "ack", reference) for reference in ("1", "1", "2"))
    assert first is not None
    assert first == again
    assert first != other

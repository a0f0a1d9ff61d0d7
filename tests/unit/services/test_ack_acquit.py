"""What DGFiP answers, read: both generations of PES_ACQUIT, PES_NonAcquit, and whatever else may come."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pes.reading.xml import ACQUIT_V1, parse
from services.ack.acquit import ERRORS_MAX, Reading, read_reply
from services.simulator.acquit import DEPENSE, PJ, RECETTE, TECHNICAL, Element, Error, write_acquit
from shared.bus.topics import MESSAGE_BYTES_MAX
from shared.facts.flux import FluxRejected
from shared.facts.values import RefusedBordereau, Verdict
from tests import examples as an
from tests.real.official import official_sample
from tests.real.platform import sample
from tests.recording import begun

NAME = "034990_260202120000-ACK-1.xml"
FLUX = parse(sample(1))
BAD = Error("ERREUR_DOUBLON_BORDEREAU", "Bordereau déjà intégré")


def acquit(*elements: Element) -> bytes:
    return write_acquit(FLUX, "flux.xml", elements)


def ok(domain: int = DEPENSE, number: str = "100") -> Element:
    return Element(domain, number=number, exercice="2026")


def ko(domain: int = DEPENSE, number: str = "100") -> Element:
    return Element(domain, number=number, exercice="2026", errors=(BAD,))


def v1(elements: str, header: str = "") -> bytes:
    """Return a PES_ACQUIT of the first generation: anomalies are flat in the element."""
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?><n:PES_ACQUIT xmlns:n="{ACQUIT_V1}">'
        f'<Enveloppe><Parametres><NomFic V="F1"/></Parametres></Enveloppe>'
        f'<EnTetePES><IdPost V="034990"/><CodCol V="123"/><CodBud V="00"/>{header}</EnTetePES>'
        f"<ACQUIT>{elements}</ACQUIT></n:PES_ACQUIT>"
    ).encode("latin-1")


@pytest.mark.parametrize(
    ("elements", "verdict"),
    [
        ((ok(),), "acknowledged"),
        ((ok(), ok(RECETTE, "7"), Element(PJ, id_unique="PJ1")), "acknowledged"),
        ((ko(),), "rejected"),
        ((ko(), ko(RECETTE)), "rejected"),
        ((ok(), ko(RECETTE)), "partially_rejected"),
        ((ok(), Element(PJ, id_unique="PJ1", errors=(BAD,))), "partially_rejected"),
        ((ok(), ko(TECHNICAL)), "rejected"),
        ((ok(), ko(2)), "rejected"),
        ((ok(), ko(99)), "rejected"),
    ],
    ids=["one", "all", "none", "none of two", "some", "a PJ", "technical", "signature", "parameters"],
)
def test_the_verdict_follows_from_every_etatack(elements: tuple[Element, ...], verdict: Verdict) -> None:
    assert read_reply(acquit(*elements), NAME).verdict == verdict


def test_a_reply_says_which_flux_it_answers() -> None:
    reading = read_reply(acquit(ok()), NAME)
    assert reading.nomfic.startswith("PESALR")
    assert (reading.cod_col, reading.cod_bud, reading.id_post) == ("123", "00", "034990")


def test_a_genuine_reply_of_the_second_generation_is_read() -> None:
    assert read_reply(official_sample("PES_ACQUIT_v2_ack.xml"), NAME) == Reading(
        nomfic="HELIOS_SIMU_ALR2_1477486132_1155762524.xml",
        cod_col="400",
        cod_bud="01",
        id_post="086016",
        emitted_on="2015-12-10",
        verdict="acknowledged",
    )


def test_a_genuine_reply_that_refuses_its_bordereau_and_takes_its_attachments() -> None:
    """The same reply with its first EtatAck turned."""
    taken = official_sample("PES_ACQUIT_v2_ack.xml")
    reading = read_reply(taken.replace(b'<EtatAck V="1"/>', b'<EtatAck V="0"/>', 1), NAME)
    assert reading.verdict == "partially_rejected"
    assert reading.refused == (RefusedBordereau(domain="depense", exercice="2015", number="1847"),)
    assert [(error.bordereau, error.exercice) for error in reading.errors] == [("1847", "2015")]


@pytest.mark.parametrize("name", ["PES_Retour_depense_latin1.xml", "PES_recette_minimal.xml"])
def test_a_genuine_file_of_another_kind_is_no_reply(name: str) -> None:
    reading = read_reply(official_sample(name), NAME)
    assert reading.verdict is None
    assert ("PES Retour" if "Retour" in name else "PES_Aller") in reading.reason


def test_an_anomaly_is_told_with_its_place() -> None:
    (error, of_piece) = read_reply(
        acquit(Element(DEPENSE, number="100", exercice="2026", errors=(BAD,), pieces=(("3", BAD),))), NAME
    ).errors
    assert (error.domain, error.bordereau, error.exercice, error.code) == ("5", "100", "2026", BAD.code)
    assert of_piece.piece == "3"
    assert of_piece.label == BAD.label


def test_a_refusal_without_a_reason_is_still_told() -> None:
    reading = read_reply(
        v1('<ElementACQUIT><DomaineAck V="5"/><EtatAck V="0"/><NumBord V="9"/></ElementACQUIT>'), NAME
    )
    assert reading.verdict == "rejected"
    assert [error.bordereau for error in reading.errors] == ["9"]
    assert "pas indiqué" in reading.errors[0].label


def test_the_first_generation_is_read_too() -> None:
    reading = read_reply(
        v1(
            '<ElementACQUIT><DomaineAck V="5"/><EtatAck V="false"/><NumBord V="9"/><NumPiece V="4"/>'
            '<NumAnoAck V="TS42"/><LibelleAnoAck V="Tiers inconnu"/></ElementACQUIT>'
            '<ElementACQUIT><DomaineAck V="6"/><EtatAck V="true"/></ElementACQUIT>'
        ),
        NAME,
    )
    assert reading.verdict == "partially_rejected"
    assert (reading.nomfic, reading.errors[0].code, reading.errors[0].piece) == ("F1", "TS42", "4")


def test_a_non_acquit_refuses_the_whole() -> None:
    document = (
        b'<PES_NonAcquit><Enveloppe><Parametres><NomFic V="F1"/></Parametres></Enveloppe>'
        b'<Erreur><NumAnoAck V="X1"/><LibelleAnoAck V="Flux illisible"/></Erreur></PES_NonAcquit>'
    )
    reading = read_reply(document, NAME)
    assert reading.verdict == "rejected"
    assert [error.code for error in reading.errors] == ["X1"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b" ", "que des blancs"),
        (b"%PDF-1.7", "n’est pas un document XML"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "DOCTYPE"),
        (b"<a/>", "racine du document est a"),
        (acquit(ok())[:-40], "tronqué ou mal formé"),
        ('<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"), "encodage"),
        (b'<n:PES_Retour xmlns:n="http://www.minefi.gouv.fr/cp/helios/pes_v2/retour"/>', "PES Retour"),
        (b'<PES_ACQUIT xmlns="urn:other"/>', "version inconnue"),
        (v1(""), "aucun ElementACQUIT"),
        (v1('<ElementACQUIT><EtatAck V="2"/></ElementACQUIT>'), "vaut « 2 »"),
        (v1("<ElementACQUIT/>"), "est absent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_a_verdict_there_is_a_reason_in_french(document: bytes, said: str) -> None:
    reading = read_reply(document, NAME)
    assert reading.verdict is None
    assert said in reading.reason


def test_an_old_ocre_file_is_told_apart_by_its_name() -> None:
    assert "OCRE" in read_reply(b"0100034990", "ACK.OCR").reason


def test_a_verdict_stands_however_many_anomalies_there_are() -> None:
    reading = read_reply(acquit(*(ko(number=str(number)) for number in range(ERRORS_MAX + 50))), NAME)
    assert reading.verdict == "rejected"
    assert len(reading.errors) == ERRORS_MAX + 1
    assert "50 autres anomalies" in reading.errors[-1].label


def test_the_largest_verdict_fits_in_a_message() -> None:
    widest = "&#119070;" * 600  # a character of four bytes
    names = [
        "DomaineAck",
        "ExerciceBord",
        "NumBord",
        "NumPiece",
        "NumLigne",
        "IdUnique",
        "NumAnoAck",
        "LibelleAnoAck",
    ]
    element = '<EtatAck V="0"/>' + "".join(f'<{name} V="{widest}"/>' for name in [*names, "LibelleAnoAck"])
    errors = read_reply(v1(f"<ElementACQUIT>{element}</ElementACQUIT>" * (ERRORS_MAX + 1)), NAME).errors
    fact = FluxRejected(reply=an.document, errors=errors)
    event = begun(fact, collectivite="1" * 64, actor="dgfip", at=datetime.now(UTC))
    assert len(event.to_bytes()) < MESSAGE_BYTES_MAX


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_exception(content: bytes) -> None:
    reading = read_reply(content, NAME)
    assert reading.verdict is None
    assert reading.reason


@given(st.integers(0, len(acquit(ok())) - 2))
def test_a_reply_cut_anywhere_has_no_verdict(length: int) -> None:
    assert read_reply(acquit(ok())[:length].rstrip(), NAME).verdict is None

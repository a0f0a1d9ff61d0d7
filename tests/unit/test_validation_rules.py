"""The controls: a good file passes, each fault is found and told, and no file whatever does any harm."""

import re
import socket
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.pes_sample import SampleSpec, build_sample
from services.validation.decide import decide
from services.validation.rules import BORDEREAUX_MAX, FINDINGS_MAX, Reading, read_flux
from shared.events import Finding, FluxInvalidated, FluxValidated
from shared.lifecycle import fold
from shared.pes import UnreadableError, read
from tests import examples as an
from tests.bad_input import GOOD, BadFile, bad_files

SIREN = SampleSpec().siret[:9]


@pytest.fixture(scope="module")
def mute() -> Iterator[socket.socket]:
    """A port that nobody should ever connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def codes(reading: Reading, severity: str = "blocking") -> set[str]:
    return {finding.code for finding in reading.findings if finding.severity == severity}


def judged(change: Callable[[str], str] | None = None, **spec: Any) -> Reading:
    """Judge a sample, changed as text."""
    content = build_sample(SampleSpec(**spec))
    if change is not None:
        content = change(content.decode("latin-1")).encode("latin-1")
    return read_flux(content, SIREN)


def replacing(pattern: str, text: str) -> Callable[[str], str]:
    def change(content: str) -> str:
        changed, count = re.subn(pattern, text, content, count=1)
        assert count == 1, pattern
        return changed

    return change


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"is_dematerialised": False},
        {"depense_bordereaux": 3, "recette_bordereaux": 2},
        {"depense_bordereaux": 0, "recette_bordereaux": 1},
        {"pj_bytes": 300_000},
        {"has_bordereau_ids": False},
        {"nomfic": "PES_AOÛT_2026 n°1"},
    ],
    ids=repr,
)
def test_a_good_file_passes_every_control(spec: dict[str, Any]) -> None:
    assert judged(**spec).findings == ()


def test_what_the_file_says_goes_into_the_fact() -> None:
    reading = judged(depense_bordereaux=2, recette_bordereaux=1)
    assert reading.header is not None
    assert (reading.header.cod_col, reading.header.cod_bud, reading.header.id_post) == ("123", "00", "034990")
    assert reading.header.id_coll == SampleSpec().siret
    assert [bordereau.domain for bordereau in reading.bordereaux] == ["depense", "depense", "recette"]
    assert all(bordereau.pieces > 0 and isinstance(bordereau.amount, Decimal) for bordereau in reading.bordereaux)
    assert reading.attachments > 0
    assert reading.signature_required


def test_a_paper_flux_needs_no_signature() -> None:
    assert not judged(is_dematerialised=False).signature_required


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (replacing(r'<NomFic V="[^"]*"', '<NomFic V=""'), "pes.header.NomFic"),
        (replacing(r'<NomFic V="[^"]*"', f'<NomFic V="{"x" * 101}"'), "pes.header.NomFic"),
        (replacing(r'<CodCol V="[^"]*"', '<CodCol V="12"'), "pes.header.CodCol"),
        (replacing(r'<CodCol V="[^"]*"', '<CodCol V="000"'), "pes.header.CodCol"),
        (replacing(r'<CodBud V="[^"]*"', '<CodBud V="0"'), "pes.header.CodBud"),
        (replacing(r'<IdPost V="[^"]*"', '<IdPost V="1234"'), "pes.header.IdPost"),
        (replacing(r'<IdPost V="[^"]*"/>', ""), "pes.header.IdPost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_helios_would_refuse_is_found(change: Callable[[str], str], code: str) -> None:
    assert codes(judged(change)) == {code}


def test_a_file_of_another_collectivite_is_a_warning() -> None:
    reading = read_flux(GOOD, "111222333")
    assert codes(reading, "warning") == {"pes.siren"}
    assert codes(reading) == set()


def test_bordereaux_that_share_an_id_are_refused() -> None:
    reading = judged(
        lambda text: re.sub(r'<Bordereau Id="[^"]*"', '<Bordereau Id="same"', text), depense_bordereaux=2
    )
    assert codes(reading) == {"pes.duplicate-id"}


def test_an_id_too_long_to_be_carried_is_refused() -> None:
    reading = judged(replacing(r'<Bordereau Id="[^"]*"', f'<Bordereau Id="{"x" * 5000}"'))
    assert codes(reading) == {"pes.id-too-long"}
    assert len(repr(reading)) < 10_000


def test_more_bordereaux_than_a_flux_can_have_are_refused() -> None:
    bordereau = "<Bordereau><BlocBordereau><Exer V='2026'/></BlocBordereau></Bordereau>"
    reading = judged(replacing("<Bordereau ", bordereau * BORDEREAUX_MAX + "<Bordereau "))
    assert codes(reading) == {"pes.too-many-bordereaux"}
    assert len(reading.bordereaux) == BORDEREAUX_MAX


def test_a_thousand_faults_are_counted_and_not_all_carried() -> None:
    bordereaux = "".join(f"<Bordereau Id='D{number // 2}'/>" for number in range(900))
    findings = judged(replacing("<Bordereau ", bordereaux + "<Bordereau ")).findings
    assert len(findings) == FINDINGS_MAX
    assert findings[-1].code == "pes.more-findings"
    assert str(450 - FINDINGS_MAX + 1) in findings[-1].message


def test_a_signature_where_none_is_declared_is_refused() -> None:
    signature = '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/></Bordereau>'
    reading = judged(replacing("</Bordereau>", signature), is_dematerialised=False)
    assert codes(reading) == {"pes.signature-unexpected"}
    assert reading.signature_required


def test_utf8_that_is_only_ascii_is_harmless_and_told() -> None:
    text = build_sample(SampleSpec(number=1)).decode("latin-1").encode("ascii", "ignore").decode()
    reading = read_flux(text.replace("ISO-8859-1", "UTF-8").encode(), SIREN)
    assert codes(reading) == set()
    assert codes(reading, "warning") == {"pes.encoding"}


@pytest.mark.parametrize("bad", list(bad_files(1)), ids=lambda bad: bad.name)
def test_every_bad_file_ends_as_a_finding(bad: BadFile, mute: socket.socket) -> None:
    port = str(mute.getsockname()[1]).encode()
    content = bad.content.replace(b"127.0.0.1:1/", b"127.0.0.1:" + port + b"/")
    reading = read_flux(content, SIREN)
    assert bad.code in codes(reading)
    assert nobody_was_called(mute)
    first = reading.findings[0]
    assert_a_person_can_act(first)
    assert "root:" not in repr(reading)
    assert len(repr(reading)) < 5_000


def nobody_was_called(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


def assert_a_person_can_act(finding: Finding) -> None:
    assert finding.message.endswith((".", ")"))
    assert finding.next.endswith(".")
    assert finding.who in {"ordonnateur", "éditeur", "comptable", "hébergeur"}


@given(st.binary(max_size=400))
def test_any_bytes_are_judged_without_an_exception(content: bytes) -> None:
    assert read_flux(content, SIREN).findings


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4))
def test_a_good_file_changed_anywhere_is_judged_without_an_exception(place: int, change: bytes) -> None:
    read_flux(GOOD[:place] + change + GOOD[place + len(change) :], SIREN)


PIECES = st.sampled_from(
    [
        *(b"<", b">", b"/", b"&", b"<a", b"</a>", b'"', b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml ", b"?>"),
        *(
            b"<!DOCTYPE a",
            b' encoding="UTF-16"',
            b"\x00",
            b"\xff\xfe",
            b"&#0;",
            b"&amp;",
            b"PES_Aller",
            b" xmlns='x'",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_markup_of_any_shape_is_read_or_refused(content: bytes) -> None:
    try:
        read(b"<?xml version='1.0'?>" + content)
    except UnreadableError as error:
        assert error.code  # noqa: PT017  # any other exception fails the test


def test_findings_that_block_make_an_invalid_flux() -> None:
    (fact,) = decide(fold([an.imported]), read_flux(b"<a/>", SIREN))
    assert isinstance(fact, FluxInvalidated)


def test_warnings_go_with_a_valid_flux() -> None:
    (fact,) = decide(fold([an.imported]), read_flux(GOOD, "111222333"))
    assert isinstance(fact, FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["pes.siren"]


@pytest.mark.parametrize("past", [[an.imported, an.validated], [an.imported, an.cancelled]])
def test_a_redelivery_or_a_cancelled_flux_changes_nothing(past: list[FluxValidated]) -> None:
    assert decide(fold(past), read_flux(GOOD, SIREN)) == []

"""The controls: a good file passes all of them, and each is broken by a file of its own."""

import gzip
import re
from base64 import b64encode
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pes.controls.catalogue import ALL, BY_CODE, CONTROLS
from pes.judge import FINDINGS_MAX, Rules, judge
from pes.reading.contents import BORDEREAUX_MAX
from pes.reading.xml import PES_ALLER, parse
from pes.sample import SampleSpec, build_sample
from pes.schemas.packs import CompiledPack, PackFiles, built_in
from pes.vocabulary import Finding
from tests.bad_input import GOOD
from tests.judging import TODAY, Change, changed_sample, codes, judged, judged_sample, pack, replacing

SIGNATURE = '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'


def value(name: str, text: str) -> Change:
    """Give the first element of this name another value."""
    return replacing(rf'<{name} V="[^"]*"', f'<{name} V="{text}"')


def without(name: str) -> Change:
    return replacing(rf'<{name} V="[^"]*"/>', "")


def before(name: str, markup: str) -> Change:
    return replacing(rf"(?=<{name}[ />])", markup)


def packed(content: bytes) -> str:
    return b64encode(gzip.compress(content)).decode()


def contents(text: str) -> Change:
    return replacing(r'(?<="application/pdf">)[^<]*', text)


PERSON = value("CatTiers", "01")
TWO_LIGNES: dict[str, Any] = {"lignes_per_piece": 2}

# One file for each control: how it differs from a good one.
BREAKING: list[tuple[str, dict[str, Any], list[Change]]] = [
    ("pes.encoding", {}, [replacing("ISO-8859-1", "WINDOWS-1252")]),
    ("pes.encoding-lying", {}, [lambda text: text.encode("utf-8").decode("latin-1")]),
    ("pes.encoding-lying", {}, [value("Obj", "oeuvre \x92\x9c")]),
    ("pes.encoding-said", {}, [replacing("ISO-8859-1", "latin1")]),
    ("pes.encoding-said", {}, [replacing(" encoding=", " " * 40 + "encoding=")]),
    ("pes.empty", {}, [replacing("<PES_DepenseAller>.*</PES_PJ>", "")]),
    ("pes.header", {}, [value("NomFic", "x" * 101)]),
    ("pes.header", {}, [value("CodCol", "000")]),
    ("pes.header", {}, [value("CodBud", "0")]),
    ("pes.header", {}, [value("IdPost", "1234")]),
    ("pes.header", {}, [without("IdPost")]),
    ("pes.siret", {}, [value("IdColl", "21349990800018")]),
    ("pes.header", {}, [before("CodCol", '<CodCol V="777"/>')]),
    ("pes.header", {}, [before("EnTetePES", '<EnTetePES><IdPost V="031007"/></EnTetePES>')]),
    ("pes.siren", {}, [value("IdColl", "09900001000019")]),
    ("pes.siren", {}, [value("IdColl", "")]),
    ("pes.siren", {}, [value("IdColl", "213499908")]),
    ("pes.siren", {}, [without("IdColl")]),
    ("pes.siren", {}, [replacing('(?=<CodCol V=")', '<IdColl V="09900001000019"/>')]),
    ("pes.version", {}, [value("Version", "1")]),
    ("pes.type", {}, [value("TypFic", "PESXXX")]),
    ("pes.date", {}, [value("DteStr", "2027-01-01")]),
    ("pes.domain-version", {}, [replacing('(?<=<EnTeteDepense><IdVer V=")2', "1")]),
    ("pes.signature-unexpected", {"is_dematerialised": False}, [replacing("(?=</Bordereau>)", SIGNATURE)]),
    ("pes.duplicate-id", {"depense_bordereaux": 2}, [replacing(r' Id="D[^"]*"', ' Id="same"', count=2)]),
    ("pes.id-too-long", {}, [replacing(r'<Bordereau Id="[^"]*"', f'<Bordereau Id="{"x" * 5000}"')]),
    ("pes.id-missing", {}, [replacing(r' Id="[^"]*"', "", count=2)]),
    ("pes.too-many-bordereaux", {}, [before("Bordereau", "<Bordereau/>" * BORDEREAUX_MAX)]),
    ("bordereau.duplicate", {"depense_bordereaux": 2}, [replacing(r'<IdBord V="[^"]*"', '<IdBord V="7"', count=2)]),
    ("bordereau.type", {}, [value("TypBord", "04")]),
    ("bordereau.pieces", {}, [value("NbrPce", "3")]),
    ("bordereau.total", {}, [value("MtBordHT", "1.00")]),
    ("bordereau.total", {"depense_bordereaux": 0, "recette_bordereaux": 1}, [value("MtBordHt", "1.00")]),
    ("bordereau.cumulative", {}, [without("MtCumulAnnuel")]),
    ("bordereau.vat", {}, [replacing("(?=</BlocBordereau>)", '<MtBordTVA V="10.00"/>')]),
    ("bordereau.vat", {}, [replacing(r'(<MtHT V="[^"]*"/>)', '<MtHT V="1.00"/><MtTVA V="0.20"/>')]),
    ("bordereau.date", {}, [value("DteBordEm", "2025-12-31")]),
    ("piece.duplicate", {}, [replacing(r'<IdPce V="[^"]*"', '<IdPce V="7"', count=2)]),
    ("piece.type", {}, [value("TypPce", "12")]),
    ("ligne.duplicate", TWO_LIGNES, [replacing('IdLigne V="2"', 'IdLigne V="1"')]),
    ("ligne.account", {}, [replacing("<CpteBancaire>.*?</CpteBancaire>", "")]),
    ("tiers.identifier", {}, [value("IdTiers", "09900001000018")]),
    ("tiers.identifier", {}, [value("NatIdTiers", "02")]),
    ("tiers.person", {}, [PERSON]),
    ("tiers.country", {}, [value("CodRes", "1")]),
    ("tiers.country", {}, [replacing('<CodRes V="0"/>', '<CodRes V="0"/><CodPays V="109"/>')]),
    ("tiers.iban", {}, [replacing(r'(?<=<IBAN V="FR)\d\d', "00")]),
    ("tiers.bic", {}, [replacing('(?=<IBAN V=")', '<BIC V="ABCDFR0"/>')]),
    ("tiers.rib", {}, [replacing('<IBAN V="[^"]*"/>', '<CodeEtab V="30001"/><CodeGuic V="00866"/>')]),
    ("pj.version", {}, [replacing('(?<=<EnTetePES_PJ><IdVer V=")1', "2")]),
    ("pj.unreadable", {}, [contents("")]),
    ("pj.unreadable", {}, [contents("bm90IGd6aXA=")]),
    ("pj.unreadable", {}, [contents("not base64")]),
    ("pj.unreadable", {}, [contents(packed(b"%PDF-1.7 cut")[:16])]),
    ("pj.kind", {}, [contents(packed(b"PK\x03\x04"))]),
    ("pj.name", {}, [replacing(r'<NomPJ V="[^"]*"/>(?=<TypePJ)', '<NomPJ V="sans extension"/>')]),
    ("pj.duplicate", {}, [replacing(r'</Contenu><IdUnique V="[^"]*"', '</Contenu><IdUnique V="SAME"', count=2)]),
    ("pj.orphan", {}, [replacing(r"<PJRef>.*?</PJRef>", "")]),
    ("pj.reference", {}, [value("TypePJ", "012")]),
    ("pj.missing", {}, [replacing(r"<PJ>.*?</PJ>", "")]),
    ("pj.paper", {}, [value("Support", "02")]),
]  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"is_dematerialised": False},
        {"depense_bordereaux": 3, "recette_bordereaux": 2},
        {"depense_bordereaux": 0, "recette_bordereaux": 1},
        {"lignes_per_piece": 3},
        {"pj_per_piece": 0},
        {"pj_bytes": 300_000},
        {"has_bordereau_ids": False},
        {"nomfic": "PES_AOÛT_2026 n°1"},
    ],
    ids=repr,
)
def test_a_good_file_passes_every_control(spec: dict[str, Any]) -> None:
    judgement = judged_sample(**spec)
    assert (judgement.findings, judgement.verdict) == ((), "valid")


@pytest.mark.parametrize(("code", "spec", "changes"), BREAKING, ids=lambda one: one if isinstance(one, str) else "")
def test_each_control_is_broken_by_a_file_of_its_own(code: str, spec: dict[str, Any], changes: list[Change]) -> None:
    judgement = judged_sample(*changes, **spec)
    control = BY_CODE[code]
    found = [finding for finding in judgement.findings if finding.code == code]
    assert found, judgement.findings
    for finding in found:
        assert (finding.source, finding.severity, finding.who) == ("control", control.severity, control.who)
        assert_a_person_can_act(finding)
        assert finding.where.line
        assert finding.where.column
    assert (judgement.verdict == "invalid") is bool(codes(judgement))


def test_every_control_has_a_file_that_breaks_it() -> None:
    assert {code for code, _, _ in BREAKING} == {control.code for control in CONTROLS}


def test_codes_are_unique_and_every_control_says_what_it_checks_and_where_it_comes_from() -> None:
    assert len(BY_CODE) == len(ALL)
    for control in ALL:
        assert control.checks
        assert control.source
        assert control.next.endswith(".")


def test_utf8_that_is_only_ascii_is_harmless_and_told() -> None:
    text = GOOD.decode("latin-1").encode("ascii", "ignore").decode()
    judgement = judged(text.replace("ISO-8859-1", "UTF-8").encode())
    assert (codes(judgement), codes(judgement, "warning")) == (set(), {"pes.encoding-said"})


def test_a_finding_says_where_in_the_accounts_and_where_in_the_file() -> None:
    content = changed_sample(replacing(r'(?<=<IBAN V="FR)\d\d', "00"), pieces_per_bordereau=3)
    (finding,) = judged(content).findings
    where = finding.where
    assert (where.domain, where.element) == ("depense", "IBAN")
    assert all((where.bordereau, where.piece, where.ligne))
    line = content.decode("latin-1").split("\n")[(where.line or 0) - 1]
    assert line[(where.column or 0) - 1 :].startswith("<IBAN")
    assert where.xpath.endswith("Piece[1]/LigneDePiece/Tiers/CpteBancaire/IBAN")


def test_what_the_file_says_goes_into_the_fact() -> None:
    judgement = judged_sample(depense_bordereaux=2, recette_bordereaux=1)
    assert judgement.header is not None
    assert (judgement.header.cod_col, judgement.header.cod_bud, judgement.header.id_post) == ("123", "00", "034990")
    assert judgement.header.id_coll == SampleSpec().siret
    assert [bordereau.domain for bordereau in judgement.bordereaux] == ["depense", "depense", "recette"]
    assert all(one.pieces > 0 and isinstance(one.amount, Decimal) for one in judgement.bordereaux)
    assert judgement.attachments > 0
    assert judgement.signature_required


def test_a_paper_flux_needs_no_signature() -> None:
    assert not judged_sample(is_dematerialised=False).signature_required


def test_a_signature_must_hold_even_where_none_is_asked_for() -> None:
    assert judged_sample(replacing("(?=</Bordereau>)", SIGNATURE), is_dematerialised=False).signature_required


def test_what_the_schema_refuses_blocks_and_names_the_pack() -> None:
    judgement = judged_sample(value("TypPce", "99"))
    (finding,) = judgement.findings
    assert (finding.source, finding.code, finding.severity) == ("schema", "schema.enumeration", "blocking")
    assert finding.where.piece
    assert finding.where.column
    assert "99" in finding.message
    assert finding.technical
    assert judgement.pack is not None
    assert judgement.pack.pack_id == "heliotrope-5.12"


def test_the_policy_says_how_serious_a_finding_is() -> None:
    content = changed_sample(value("MtBordHT", "1.00"))
    assert judged(content).verdict == "valid"
    judgement = judged(content, policy={"bordereau.total": "blocking"})
    assert (judgement.verdict, codes(judgement)) == ("invalid", {"bordereau.total"})


def test_the_policy_may_let_pass_what_the_schema_refuses() -> None:
    content = changed_sample(value("TypPce", "99"))
    judgement = judged(content, policy={"schema": "warning"})
    assert (judgement.verdict, codes(judgement, "warning")) == ("valid", {"schema.enumeration"})


def test_no_policy_relaxes_what_is_fixed() -> None:
    content = changed_sample(replacing(r' Id="D[^"]*"', ' Id="same"', count=2), depense_bordereaux=2)
    assert judged(content, policy={"pes.duplicate-id": "warning"}).verdict == "invalid"


def test_faults_without_number_are_counted_and_drown_no_others() -> None:
    bordereaux = "<Bordereau Id='same'/>" * (2 * FINDINGS_MAX)
    findings = judged_sample(before("Bordereau", bordereaux), value("CodCol", "000")).findings
    counts = Counter(finding.code for finding in findings)
    assert max(counts.values()) == FINDINGS_MAX
    assert {"pes.header", "pes.duplicate-id", "bordereau.type", "bordereau.pieces"} <= set(counts)
    assert findings[-1].code == "pes.many-findings"
    assert re.search(r"\d{4,}", findings[-1].message)


def test_a_number_of_social_security_is_not_repeated() -> None:
    judgement = judged_sample(value("NatIdTiers", "04"))
    (finding,) = [one for one in judgement.findings if one.code == "tiers.identifier"]
    assert "09900001" not in repr(finding)


@pytest.mark.parametrize("number", ["1 85 05 78 006 084 36", "185057800608436x", "1850578006084" * 9])
def test_a_number_of_social_security_that_the_schema_refuses_is_not_repeated(number: str) -> None:
    judgement = judged_sample(value("NatIdTiers", "04"), value("IdTiers", number))
    assert judgement.findings
    assert number[:12] not in repr(judgement.findings)


@pytest.mark.parametrize("number", ["+2", "2.", "2.0", "0002"])
def test_a_number_is_one_number_however_it_is_written(number: str) -> None:
    assert judged_sample(value("NbrPce", number)).findings == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [("Obj", "schema.too-long"), ("CP", "schema.too-long"), ("NbrPce", "schema.type"), ("CodBud", "schema.value")],
)
def test_a_value_of_ten_megabytes_is_told_and_quoted_with_measure(name: str, code: str) -> None:
    judgement = judged_sample(value(name, "x" * 10_000_000))
    assert code in codes(judgement)
    assert len(repr(judgement.findings)) < 20_000


def judgements_of_content(text: str) -> tuple[bool, bool]:
    """Return whether we take the content of an attachment, and whether the schema itself does."""
    content = changed_sample(contents(text), pj_per_piece=1, pieces_per_bordereau=1)
    schema = pack().schema(PES_ALLER)
    assert schema is not None
    by_schema = {finding.code for finding in judged(content).findings if finding.source == "schema"}
    return not by_schema, schema.validate(parse(content))


@settings(max_examples=300, deadline=None)
@given(st.text("QUJDREVG+/=QgwAEI4 \t\n-_é\xa0#", max_size=30))
def test_the_content_of_an_attachment_is_judged_as_the_schema_would(text: str) -> None:
    ours, of_the_schema = judgements_of_content(text)
    assert ours is of_the_schema


@pytest.mark.parametrize("end", ["QQ==", "QR==", "QUI=", "QUJ=", "QUJD", "QUI", "Q===", "QQ=", "=", "QQ==QQ=="])
def test_the_end_of_base64_is_judged_as_the_schema_would(end: str) -> None:
    for start in ("", "QUJD", "QUJD\n", " "):
        ours, of_the_schema = judgements_of_content(start + end)
        assert ours is of_the_schema


def test_a_pack_that_asks_more_of_a_content_is_asked_itself() -> None:
    files = built_in().files
    bound = b'<xs:restriction base="xs:base64Binary"><xs:maxLength value="9"/></xs:restriction>'
    aller = files["aller.xsd"]
    assert CompiledPack(PackFiles("x", {**files, "aller.xsd": aller})).takes_any_base64
    named = b'<xs:simpleType name="Short">' + bound + b"</xs:simpleType></xs:schema>"
    stricter = aller.replace(b'base="xs:base64Binary"', b'base="n:Short"').replace(b"</xs:schema>", named)
    stricter_pack = CompiledPack(PackFiles("x", {**files, "aller.xsd": stricter}))
    assert not stricter_pack.takes_any_base64
    judgement = judge(GOOD, Rules(packs=(stricter_pack,)), today=TODAY)
    assert {finding.where.element for finding in judgement.findings} == {"Fichier"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replacing("Emetteur>", "Emetteur>&", count=1), "&amp;"),
        (replacing("Emetteur>", "Emetteur>&eacute;", count=1), "entité"),
        (replacing("</Emetteur>", "</Emeteur>"), "refermée"),
        (replacing("ISO-8859-1", "UTF-8"), "encodage"),
        (replacing("</n:PES_Aller>", ""), "tronqué"),
        (replacing("<Emetteur>", "<Emetteur>\x02"), "caractère"),
    ],
)
def test_xml_that_is_not_well_formed_is_told_with_its_cause(change: Change, told: str) -> None:
    (finding,) = judged_sample(change).findings
    assert (finding.code, finding.who) == ("reader.malformed", "ordonnateur")
    assert told in finding.message
    assert finding.where.line


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [("DteBordEm", "16/09/2015", "AAAA-MM-JJ"), ("MtBordHT", "55,22", "point"), ("Exer", "15", "année")],
)
def test_a_value_of_the_wrong_type_is_told_with_the_form_it_should_have(name: str, text: str, told: str) -> None:
    (finding,) = [one for one in judged_sample(value(name, text)).findings if one.source == "schema"]
    assert told in finding.message


def test_another_namespace_is_the_business_of_the_editor() -> None:
    (finding,) = judged_sample(replacing("Rev0/aller", "Rev1/aller")).findings
    assert (finding.code, finding.who) == ("pes.root", "éditeur")


def test_an_iban_that_is_only_badly_written_is_not_called_wrong() -> None:
    (finding,) = [
        one for one in judged_sample(replacing('(?<=<IBAN V=")FR', "fr")).findings if one.code == "tiers.iban"
    ]
    assert "majuscules" in finding.message


def test_a_sample_of_each_number_is_good() -> None:
    for number in range(1, 30):
        assert judged(build_sample(SampleSpec(number=number))).findings == ()


def assert_a_person_can_act(finding: Finding) -> None:
    assert finding.message.endswith((".", ")"))
    assert finding.next.endswith(".")
    assert finding.who in {"ordonnateur", "éditeur", "comptable", "hébergeur"}

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha1
from pathlib import Path

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from local.keys.pki import DemoPki, ensure_demo_pki
from signing import xades
from signing.algorithms import DS, XADES
from signing.certificates import rfc2253
from signing.outline import Target, UnsignableError, targets
from signing.xades import Stated, complete, prepare, sign
from tests.real.official import official_sample, official_schema
from tests.signing import (
    ALLER,
    GLOBAL,
    NAMESPACES,
    NOW,
    ONE,
    STATED,
    bordereau,
    flux,
    signatory,
    signatures,
    signed,
    verify_both,
    verify_with_xmlsec,
)

ACCENTED = flux(depense=(bordereau(1, "Équipement scolaire élémentaire"),))

SHAPES = {
    "one bordereau": ONE,
    "five bordereaux": flux(depense=tuple(bordereau(number) for number in range(1, 6))),
    "dépense and recette": flux(depense=(bordereau(1),), recette=(bordereau(2), bordereau(3))),
    "global": GLOBAL,
    "accents in ISO-8859-1": ACCENTED,
    "accents in the Id": flux(depense=(bordereau(1, attribute=' Id="DÉPENSE_É1"'),)),
    "accents in UTF-8": flux(depense=(bordereau(1, "Éléments à 12 €"),), encoding="UTF-8"),
    "byte order mark": b"\xef\xbb\xbf" + flux(depense=(bordereau(1, "Élan"),), encoding="UTF-8"),
    "CRLF": ONE.replace(b"\n", b"\r\n"),
    "ds declared on the root": flux(depense=(bordereau(1),), root=f' xmlns:ds="{DS}"'),
    "old xad declared on the root": flux(
        depense=(bordereau(1),), root=' xmlns:xad="http://uri.etsi.org/01903/v1.1.1#"'
    ),
    "a default namespace on the root": (
        f'<PES_Aller xmlns="{ALLER}"><PES_DepenseAller xmlns=""><Bordereau Id="B1"><a/></Bordereau>'
        "</PES_DepenseAller></PES_Aller>"
    ).encode(),
    "end tags in comments and CDATA": flux(
        depense=(
            bordereau(1, attribute=' Id="B1"').replace("<Obj", "<!--</Bordereau>--><![CDATA[</Bordereau>]]><Obj"),
        )
    ),
    "an end tag with whitespace": ONE.replace(b"</Bordereau>", b"</Bordereau\n\t>"),
    "neighbours without children": ONE.replace(b"<EnTete/>", b"<EnTete/><Vide/>").replace(
        b"</Bordereau>", b"<c/></Bordereau>"
    ),
    "processing instructions and a trailing comment": ONE.replace(b"<Obj", b"<?pi a?><Obj") + b"<!-- end -->\n",
}
every_shape = pytest.mark.parametrize("document", SHAPES.values(), ids=SHAPES.keys())


# --- What must be signed (5.2) -----------------------------------------------------------------------------


def test_each_bordereau_with_an_id_is_signed_apart() -> None:
    found = targets(SHAPES["dépense and recette"])
    assert [one.element_id for one in found] == ["BORD1", "BORD2", "BORD3"]
    assert not any(one.is_global or one.is_signed for one in found)


def test_one_bordereau_without_id_makes_the_signature_global() -> None:
    found = targets(GLOBAL)
    assert [(one.element_id, one.is_global) for one in found] == [("FLUX1", True)]
    assert GLOBAL[found[0].offset :].startswith(b"</n:PES_Aller>")


@every_shape
def test_a_signature_goes_where_the_end_tag_starts(document: bytes) -> None:
    for target in targets(document):
        assert re.match(rb"</(Bordereau|n:PES_Aller)\s*>", document[target.offset :])


@pytest.mark.parametrize("screen", [b"<?x </n:PES_Aller>?>", b"<!-- </n:PES_Aller> -->", b"<?x </n:PES_Aller><!--?>"])
def test_the_end_of_the_root_is_told_from_what_looks_like_it(screen: bytes) -> None:
    for document in (GLOBAL.replace(b"<PES_PJ/>", screen + b"<PES_PJ/>"), GLOBAL + screen):
        (target,) = targets(document)
        assert document[: target.offset].count(b"<PES_PJ/>") == 1
        assert len(verify_both(signed(document))) == 1


def test_what_looks_like_ends_of_the_root_costs_no_more_than_its_size() -> None:
    screens = b"<?x </n:PES_Aller><!--?>" * 40_000  # a search that goes back would take hours
    (target,) = targets(GLOBAL.replace(b"<PES_PJ/>", screens + b"<PES_PJ/>"))
    assert target.is_global


def test_a_bordereau_elsewhere_than_in_a_domain_is_not_signed() -> None:
    document = ONE.replace(b"<PES_PJ/>", b'<PES_PJ><Bordereau Id="X"><a/></Bordereau></PES_PJ>')
    assert [one.element_id for one in targets(document)] == ["BORD1"]


def test_targets_know_which_are_signed() -> None:
    document = SHAPES["five bordereaux"]
    assert [one.is_signed for one in targets(signed(document))] == [True] * 5


def test_a_flux_signed_as_a_whole_has_that_one_target() -> None:
    whole = flux(depense=(bordereau(1, attribute=""),), root=' Id="FLUX1"')
    with_ids = signed(whole).replace(b"<Bordereau>", b'<Bordereau Id="LATER">')
    assert [(one.element_id, one.is_signed, one.is_global) for one in targets(with_ids)] == [("FLUX1", True, True)]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (flux(root=' Id="FLUX1"'), "ni dépense ni recette"),
        (flux(depense=(bordereau(1), bordereau(2, attribute=""))), "Bordereaux sans attribut Id, 1 sur 2"),
        (flux(depense=(bordereau(1), bordereau(1))), "plusieurs éléments"),
        (flux(depense=(bordereau(1),), root=' Id="BORD1"'), "plusieurs éléments"),
        (flux(depense=(bordereau(1, attribute=' Id="xpointer(/)"'),)), "pas un identifiant XML"),
        (flux(depense=('<Bordereau Id="B1"/>',)), "vide"),
        (ONE.replace(b"<n:", b"<!DOCTYPE x><n:", 1), "DOCTYPE"),
        (ONE.replace(b"PES_Aller", b"PES_Retour"), "pas un PES Aller"),
        (ONE[:-20], "mal formé"),
        (b"", "est vide"),
        (ONE.replace(b"ISO-8859-1", b"klingon"), "encodage"),
        (ONE.decode("latin-1").replace("ISO-8859-1", "UTF-16").encode("utf-16"), "encodage"),
    ],
)
def test_what_cannot_be_signed_says_why(document: bytes, words: str) -> None:
    with pytest.raises(UnsignableError, match=re.escape(words)):
        targets(document)


def test_entities_are_never_expanded() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><x Id="&b;"/>'
    with pytest.raises(UnsignableError, match="DOCTYPE"):
        targets(bomb)


# --- The form (5.3) ----------------------------------------------------------------------------------------


def shape_of(element: etree._Element) -> Iterator[str]:
    """List the elements and attributes of a signature, without the values that differ at each signing."""
    for one in element.iter():
        name = etree.QName(one)
        prefix = {uri: key for key, uri in NAMESPACES.items()}[str(name.namespace)]
        yield " ".join([f"{prefix}:{name.localname}", *(f"{key}={value}" for key, value in one.items())])


EXPECTED_SHAPE = [
    "ds:Signature Id=BORD1_SIG_1",
    "ds:SignedInfo",
    "ds:CanonicalizationMethod Algorithm=http://www.w3.org/2001/10/xml-exc-c14n#",
    "ds:SignatureMethod Algorithm=http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "ds:Reference URI=#BORD1",
    "ds:Transforms",
    "ds:Transform Algorithm=http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "ds:Transform Algorithm=http://www.w3.org/2001/10/xml-exc-c14n#",
    "ds:DigestMethod Algorithm=http://www.w3.org/2001/04/xmlenc#sha256",
    "ds:DigestValue",
    "ds:Reference Type=http://uri.etsi.org/01903/v1.2.2#SignedProperties URI=#BORD1_SIG_1_SP",
    "ds:Transforms",
    "ds:Transform Algorithm=http://www.w3.org/2001/10/xml-exc-c14n#",
    "ds:DigestMethod Algorithm=http://www.w3.org/2001/04/xmlenc#sha256",
    "ds:DigestValue",
    "ds:SignatureValue Id=BORD1_SIG_1_SV",
    "ds:KeyInfo",
    "ds:X509Data",
    "ds:X509Certificate",
    "ds:Object",
    "xad:QualifyingProperties Target=#BORD1_SIG_1",
    "xad:SignedProperties Id=BORD1_SIG_1_SP",
    "xad:SignedSignatureProperties",
    "xad:SigningTime",
    "xad:SigningCertificate",
    "xad:Cert",
    "xad:CertDigest",
    "xad:DigestMethod Algorithm=http://www.w3.org/2000/09/xmldsig#sha1",
    "xad:DigestValue",
    "xad:IssuerSerial",
    "ds:X509IssuerName",
    "ds:X509SerialNumber",
    "xad:SignaturePolicyIdentifier",
    "xad:SignaturePolicyId",
    "xad:SigPolicyId",
    "xad:Identifier",
    "xad:Description",
    "xad:SigPolicyHash",
    "xad:DigestMethod Algorithm=http://www.w3.org/2001/04/xmlenc#sha256",
    "xad:DigestValue",
    "xad:SigPolicyQualifiers",
    "xad:SigPolicyQualifier",
    "xad:SPURI",
    "xad:SignatureProductionPlace",
    "xad:City",
    "xad:PostalCode",
    "xad:CountryName",
    "xad:SignerRole",
    "xad:ClaimedRoles",
    "xad:ClaimedRole",
]


def test_a_signature_has_the_elements_of_the_current_form_in_order() -> None:
    assert list(shape_of(signatures(signed(ONE))[0])) == EXPECTED_SHAPE


def test_a_signature_has_the_shape_of_a_genuine_one() -> None:
    genuine = signatures(official_sample())[0]
    as_genuine = [line.replace("BORD1", "BORD822933") for line in EXPECTED_SHAPE]
    assert list(shape_of(genuine)) == as_genuine


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("SigningTime", "2026-03-02T09:30:15Z"),
        ("Identifier", "urn:oid:1.2.250.1.131.1.5.18.21.1.7"),
        ("Description", "Politique de signature Helios de la DGFiP"),
        ("SigPolicyHash/{*}DigestValue", "roF9+cfRHNPtVJolhdqfIqGMVuUXX8aR4rpiquf0u5E="),
        ("City", "Saint-Exemple"),
        ("PostalCode", "00100"),
        ("CountryName", "France"),
        ("ClaimedRole", "Ordonnateur"),
    ],
)
def test_a_signature_states_what_it_must(path: str, expected: str) -> None:
    assert signatures(signed(ONE))[0].findtext(f".//{{*}}{path}") == expected


def test_a_signature_names_its_certificate() -> None:
    signature, certificate = signatures(signed(ONE))[0], signatory().certificate
    der = certificate.public_bytes(Encoding.DER)
    assert signature.findtext(".//{*}X509Certificate") == b64encode(der).decode()
    digest = signature.findtext(".//{*}CertDigest/{*}DigestValue")
    assert digest == b64encode(sha1(der, usedforsecurity=False).digest()).decode()
    assert signature.findtext(".//{*}X509SerialNumber") == str(certificate.serial_number)


def test_an_issuer_is_written_as_java_writes_it() -> None:
    issuer = signatures(signed(ONE))[0].findtext(".//{*}X509IssuerName")
    email = b"demonstration@heliotrope.invalid".hex()
    assert issuer == (
        f"1.2.840.113549.1.9.1=#1620{email},CN=Autorité de démonstration\\, sans valeur,O=Heliotrope,C=FR"
    )


def test_a_long_attribute_without_short_name_is_still_its_der_value() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, f"{'a' * 300}@b.invalid")])
    assert rfc2253(name).startswith("1.2.840.113549.1.9.1=#1682013661616161")


def test_signing_time_is_written_in_utc() -> None:
    who, paris = signatory(), timezone(timedelta(hours=2))
    document = sign(
        ONE,
        key=who,
        signing_time=NOW.astimezone(paris),
        stated=STATED,
    )
    assert b"<xad:SigningTime>2026-03-02T09:30:15Z<" in document


def test_xades_is_declared_in_place_and_as_the_default() -> None:
    assert f'<xad:QualifyingProperties xmlns="{XADES}" xmlns:xad="{XADES}" '.encode() in signed(ONE)


def test_claims_mean_the_same_in_every_encoding() -> None:
    who = signatory()
    stated = Stated(role="Adjointe déléguée <finances & achats>", city="Sœur-L’Élue", postal_code="00100")
    for document in (ACCENTED, SHAPES["accents in UTF-8"]):
        result = sign(document, key=who, signing_time=NOW, stated=stated)
        assert signatures(result)[0].findtext(".//{*}ClaimedRole") == stated.role
        assert signatures(result)[0].findtext(".//{*}City") == stated.city
        assert verify_with_xmlsec(result) == len(verify_both(result)) == 1


# --- Bytes -------------------------------------------------------------------------------------------------


def inserted(before: bytes, after: bytes) -> list[bytes]:
    """Cut the signatures out of ``after`` at the places that ``before`` says, and check the rest."""
    pieces, position, rest = [], 0, after
    for target in targets(before):
        untouched = before[position : target.offset]
        assert rest.startswith(untouched)
        rest = rest[len(untouched) :]
        length = rest.index(b"</ds:Signature>") + len(b"</ds:Signature>")
        pieces.append(rest[:length])
        rest, position = rest[length:], target.offset
    assert rest == before[position:]
    return pieces


@every_shape
def test_only_signatures_are_added_and_they_are_ascii_without_newline(document: bytes) -> None:
    for signature in inserted(document, signed(document)):
        assert signature.isascii()
        assert not re.search(rb"\s\s|[\r\n\t]|>\s|\s<", signature)
        assert signature.startswith(b"<ds:Signature ")


xml_text = st.text(st.characters(codec="iso-8859-1", min_codepoint=32, exclude_characters="<&\"'\x7f"))
newlines = st.sampled_from(["\n", "\r\n", "\r", "\t", " ", ""])


@st.composite
def documents(draw: Callable[[st.SearchStrategy[str]], str], encoding: str) -> bytes:
    count = int(draw(st.sampled_from("1234")))
    parts = [
        f'<Bordereau{draw(newlines)} Id="B{number}"><a V="{draw(xml_text)}"/>{draw(newlines)}'
        f"{draw(xml_text).replace(']]>', '')}<!--{draw(xml_text).replace('-', '')}--><b{draw(newlines)}/>"
        f"{draw(newlines)}</Bordereau{draw(newlines)}>{draw(newlines)}"
        for number in range(count)
    ]
    domain = draw(st.sampled_from(["PES_DepenseAller", "PES_RecetteAller"]))
    header = f'<?xml version="1.0" encoding="{encoding}"?>{draw(newlines)}'
    body = f'<p:PES_Aller xmlns:p="{ALLER}"><{domain}>{"".join(parts)}</{domain}></p:PES_Aller>{draw(newlines)}'
    return (header + body).encode(encoding)


@settings(max_examples=60, deadline=None)
@given(document=st.one_of(documents("ISO-8859-1"), documents("UTF-8")))
def test_taking_the_signatures_out_gives_the_original_bytes_back(document: bytes) -> None:
    result = signed(document)
    assert re.sub(rb"<ds:Signature .*?</ds:Signature>", b"", result, flags=re.DOTALL) == document
    assert inserted(document, result)
    assert verify_with_xmlsec(result) == len(verify_both(result)) == len(targets(document))


# --- Others agree ------------------------------------------------------------------------------------------


@every_shape
def test_xmlsec_and_signxml_both_accept_it(document: bytes) -> None:
    result = signed(document)
    assert verify_with_xmlsec(result) == len(verify_both(result)) == len(targets(document)) > 0


@pytest.mark.parametrize("document", [ONE, GLOBAL], ids=["one bordereau", "global"])
def test_xmlsec_refuses_an_altered_byte(document: bytes) -> None:
    with pytest.raises(xmlsec.Error):
        verify_with_xmlsec(signed(document).replace(b"Fournitures 1", b"Fournitures 7"))


def test_bordereaux_signed_one_after_the_other_all_hold() -> None:
    document, who = SHAPES["five bordereaux"], signatory()
    for _ in range(5):
        first = next(one for one in targets(document) if not one.is_signed)
        prepared = prepare(document, [first], certificate=who.certificate, signing_time=NOW, stated=STATED)
        value = who.sign(prepared[0].to_sign)
        document = complete(document, prepared, [value])
    assert verify_with_xmlsec(document) == len(verify_both(document)) == 5


def test_a_global_signature_covers_the_signatures_of_bordereaux() -> None:
    both = flux(depense=(bordereau(1),), root=' Id="FLUX1"')
    who, bordereaux_signed = signatory(), signed(both)
    root_end = bordereaux_signed.rindex(b"</n:PES_Aller>")
    whole = Target("FLUX1", root_end, is_signed=False, is_global=True)
    prepared = prepare(bordereaux_signed, [whole], certificate=who.certificate, signing_time=NOW, stated=STATED)
    value = who.sign(prepared[0].to_sign)
    result = complete(bordereaux_signed, prepared, [value])
    assert verify_with_xmlsec(result) == len(verify_both(result)) == 2


def test_the_order_of_the_targets_does_not_matter() -> None:
    document, who = SHAPES["five bordereaux"], signatory()
    prepared = prepare(
        document, targets(document)[::-1], certificate=who.certificate, signing_time=NOW, stated=STATED
    )
    values = [who.sign(one.to_sign) for one in prepared]
    assert complete(document, prepared, values) == signed(document)


@pytest.mark.parametrize(
    "name", ["HELIOS_SIMU_ALR2_1496987735_826268894.xml", "PESALR1_depense_pj.xml", "PES_recette_minimal.xml"]
)
def test_genuine_flux_can_be_signed(name: str) -> None:
    document = official_sample(name)
    result = signed(document)
    assert inserted(document, result)
    assert verify_with_xmlsec(result) == len(verify_both(result)) == 1


def test_a_signed_flux_is_as_valid_for_the_official_schema_as_before() -> None:
    document = official_sample("PESALR1_depense_pj.xml")
    schema = official_schema()

    def findings(content: bytes) -> list[str]:
        schema.validate(etree.fromstring(content))
        return [entry.message for entry in schema.error_log]

    assert findings(signed(document)) == findings(document)


# --- What is refused ---------------------------------------------------------------------------------------


def test_what_is_signed_is_not_signed_again() -> None:
    document, who = signed(ONE), signatory()
    with pytest.raises(UnsignableError, match="déjà signé"):
        signed(document)
    with pytest.raises(UnsignableError, match="déjà signé"):
        prepare(document, targets(document), certificate=who.certificate, signing_time=NOW, stated=STATED)


@pytest.mark.parametrize("at", [NOW - timedelta(days=400), NOW + timedelta(days=4000)])
def test_a_certificate_signs_only_while_it_is_valid(at: datetime) -> None:
    with pytest.raises(UnsignableError, match="en cours de validité"):
        prepare(ONE, targets(ONE), certificate=signatory().certificate, signing_time=at, stated=STATED)


def test_only_rsa_keys_sign() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Courbe")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(UnsignableError, match="RSA"):
        prepare(ONE, targets(ONE), certificate=certificate, signing_time=NOW, stated=STATED)


def test_a_control_character_in_the_claims_is_refused() -> None:
    stated = replace(STATED, city="Saint\x01Exemple")
    with pytest.raises(UnsignableError, match="interdit en XML"):
        prepare(ONE, targets(ONE), certificate=signatory().certificate, signing_time=NOW, stated=stated)


def test_the_ids_of_a_signature_must_be_free() -> None:
    document = flux(depense=(bordereau(1), bordereau(2, attribute=' Id="BORD1_SIG_1_SP"')))
    with pytest.raises(UnsignableError, match="déjà pris"):
        signed(document)


def test_targets_of_another_document_are_a_bug() -> None:
    other = targets(flux(depense=(bordereau(9),)))
    with pytest.raises(ValueError, match="another document"):
        prepare(ONE, other, certificate=signatory().certificate, signing_time=NOW, stated=STATED)


def test_a_naive_signing_time_is_a_bug() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        prepare(ONE, targets(ONE), certificate=signatory().certificate, signing_time=naive, stated=STATED)


def test_every_signature_needs_its_value() -> None:
    prepared = prepare(ONE, targets(ONE), certificate=signatory().certificate, signing_time=NOW, stated=STATED)
    with pytest.raises(ValueError, match="shorter"):
        complete(ONE, prepared, [])


def test_preparing_looks_at_each_bordereau_once(monkeypatch: pytest.MonkeyPatch) -> None:
    document = flux(depense=tuple(bordereau(number) for number in range(300)))
    seen: list[int] = []

    def counted(element: etree._Element) -> bytes:
        octets = canonical(element)
        if element.tag == "Bordereau":
            seen.append(len(octets))
        return octets

    canonical = xades.canonical
    monkeypatch.setattr(xades, "canonical", counted)
    prepare(document, targets(document), certificate=signatory().certificate, signing_time=NOW, stated=STATED)
    assert len(seen) == 300
    assert sum(seen) < 2 * len(document)


# --- The demonstration's certificates ----------------------------------------------------------------------


def contents(pki: DemoPki) -> list[bytes]:
    return [path.read_bytes() for path in (pki.ca_certificate, pki.signer_certificate, pki.signer_key)]


def test_a_demonstration_keeps_its_certificates(tmp_path: Path) -> None:
    first = contents(ensure_demo_pki(tmp_path / "pki", NOW))
    assert contents(ensure_demo_pki(tmp_path / "pki", NOW + timedelta(days=600))) == first


def test_a_certificate_about_to_expire_is_made_again_by_the_same_authority(tmp_path: Path) -> None:
    first = contents(ensure_demo_pki(tmp_path, NOW))
    later = contents(ensure_demo_pki(tmp_path, NOW + timedelta(days=701)))
    assert later[0] == first[0]
    assert later[1] != first[1]


def test_a_certificate_without_its_key_is_made_again(tmp_path: Path) -> None:
    pki = ensure_demo_pki(tmp_path, NOW)
    other = ensure_demo_pki(tmp_path / "other", NOW)
    pki.signer_key.write_bytes(other.signer_key.read_bytes())
    certificate = x509.load_pem_x509_certificate(ensure_demo_pki(tmp_path, NOW).signer_certificate.read_bytes())
    key = load_pem_private_key(pki.signer_key.read_bytes(), password=None)
    assert key.public_key() == certificate.public_key()


def test_a_new_authority_issues_a_new_signer(tmp_path: Path) -> None:
    before = contents(ensure_demo_pki(tmp_path, NOW))
    (tmp_path / "ca.key").unlink()
    pki = ensure_demo_pki(tmp_path, NOW)
    assert contents(pki)[1] != before[1]
    authority = x509.load_pem_x509_certificate(pki.ca_certificate.read_bytes())
    x509.load_pem_x509_certificate(pki.signer_certificate.read_bytes()).verify_directly_issued_by(authority)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    ensure_demo_pki(tmp_path, NOW)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}
    assert not list(tmp_path.glob("*.partial"))


def test_the_signer_may_sign_and_nothing_else() -> None:
    usage = signatory().certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.content_commitment
    assert usage.digital_signature
    assert not usage.key_cert_sign

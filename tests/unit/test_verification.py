import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from services.signature import xades
from services.signature.outline import targets
from services.signature.verification import SignatureInvalidError, VerifiedSignature, verify
from services.signature.xades import complete, prepare
from tests.unit.test_xades import (
    CLAIMS,
    GLOBAL,
    NOW,
    ONE,
    SHAPES,
    bordereau,
    flux,
    official_sample,
    signatory,
    signed,
)

Edit = Callable[[str], str]


def signed_after(edit: Edit, document: bytes = ONE) -> bytes:
    """Sign a form of our own: what is signed is edited, and digests and value are made right again."""
    who = signatory()
    (target,) = targets(document)
    (prepared,) = prepare(document, [target], certificate=who.certificate, signing_time=NOW, claims=CLAIMS)
    before, after = (edit(part.decode()) for part in (prepared.before_value, prepared.after_value))
    properties = re.search(r"<xad:QualifyingProperties.*</xad:QualifyingProperties>", after)
    if properties is not None:
        element = xades._alone(properties[0])[0]
        before = re.sub(
            r"(.*<ds:DigestValue>)[^<]*", lambda m: m[1] + xades._sha256(xades.canonical(element)), before
        )
    info = re.search(r"<ds:SignedInfo>.*</ds:SignedInfo>", before)
    assert info is not None
    to_sign = xades.canonical(xades._alone(info[0]))
    edited = replace(prepared, before_value=before.encode(), after_value=after.encode())
    return complete(document, [edited], [who.key.sign(to_sign, padding.PKCS1v15(), hashes.SHA256())])


def replacing(old: str, new: str) -> Edit:
    return lambda part: part.replace(old, new)


def refused(document: bytes) -> SignatureInvalidError:
    with pytest.raises(SignatureInvalidError) as caught:
        verify(document)
    return caught.value


# --- What holds --------------------------------------------------------------------------------------------


def test_a_verified_signature_says_who_signed_what_and_when() -> None:
    certificate = signatory().certificate
    assert verify(signed(ONE)) == [
        VerifiedSignature(
            element_id="BORD1",
            is_global=False,
            signing_time=NOW.replace(microsecond=0),
            signer="CN=Ordonnateur de démonstration,O=Commune de Démonstration,C=FR",
            certificate_serial=certificate.serial_number,
            certificate=certificate,
            claimed_role="Ordonnateur",
            policy="urn:oid:1.2.250.1.131.1.5.18.21.1.7",
            is_policy_known=True,
        )
    ]


def test_every_signature_is_verified_in_document_order() -> None:
    found = verify(signed(SHAPES["dépense and recette"]))
    assert [one.element_id for one in found] == ["BORD1", "BORD2", "BORD3"]


def test_a_signature_of_the_root_is_global() -> None:
    assert [(one.element_id, one.is_global) for one in verify(signed(GLOBAL))] == [("FLUX1", True)]


def test_no_signature_is_nothing_to_verify() -> None:
    assert verify(ONE) == []


def test_a_genuine_signature_holds_though_its_certificate_expired_and_its_policy_digest_is_cut() -> None:
    (found,) = verify(official_sample())
    assert (found.element_id, found.is_global, found.is_policy_known) == ("BORD822933", False, True)
    assert found.signing_time == datetime(2018, 7, 5, 15, 45, 17, tzinfo=UTC)
    assert found.certificate.not_valid_after_utc < datetime(2019, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "edit",
    [
        replacing("1.2.2", "1.1.1"),
        replacing("http://uri.etsi.org/01903/v1.2.2#SignedProperties", "http://uri.etsi.org/01903#SignedProperties"),
        replacing('Target="#', 'Target="'),
        replacing("<ds:X509Certificate>", "<ds:X509Certificate>\n"),
        replacing("/xml-exc-c14n#", "/xml-exc-c14n#WithComments"),
        lambda part: re.sub(r"<xad:SigningCertificate>.*</xad:SigningCertificate>", "", part),
        lambda part: re.sub(r"<xad:SignaturePolicyIdentifier>.*</xad:SignaturePolicyIdentifier>", "", part),
    ],
    ids=[
        "XAdES 1.1.1",
        "type without version",
        "STELA target",
        "#714",
        "comments",
        "no certificate ref",
        "no policy",
    ],
)
def test_forms_that_others_write_hold(edit: Edit) -> None:
    assert len(verify(signed_after(edit))) == 1


def test_an_empty_reference_means_the_root() -> None:
    document = GLOBAL
    assert verify(signed_after(replacing('URI="#FLUX1"', 'URI=""'), document))[0].is_global


def test_an_unknown_policy_is_only_worth_a_warning() -> None:
    (found,) = verify(signed_after(replacing("roF9", "AAAA")))
    assert not found.is_policy_known


def test_whitespace_inside_tags_is_not_content() -> None:
    assert verify(signed(ONE).replace(b"<Obj V", b"<Obj  V"))


# --- What does not hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Fournitures 1", b"Fournitures 2"),
        (b"<Note>", b"<Note> "),
        (b"</Note>\n", b"</Note>"),
        (b"</ds:Signature></Bordereau>", b"</ds:Signature>\n</Bordereau>"),
    ],
)
def test_a_bordereau_that_changed_is_refused(old: bytes, new: bytes) -> None:
    error = refused(signed(ONE).replace(old, new))
    assert error.element_id == "BORD1"
    assert error.reason == "le contenu signé a été modifié depuis la signature."


def test_only_the_altered_bordereau_is_named() -> None:
    document = signed(SHAPES["five bordereaux"]).replace(b"Fournitures 4", b"Fournitures 9")
    assert refused(document).element_id == "BORD4"


@pytest.mark.parametrize("old", [b"Ordonnateur<", b"09:30:15Z", b"Saint-Exemple", b"roF9"])
def test_properties_that_changed_are_refused(old: bytes) -> None:
    document = signed(ONE)
    start = document.index(old)
    edited = document[:start] + old.translate(bytes.maketrans(b"0raF", b"1xxx")) + document[start + len(old) :]
    assert "modifié" in refused(edited).reason


def test_a_value_made_with_another_key_is_refused() -> None:
    document = signed(ONE)
    value = re.search(rb"_SV\">([^<]*)", document)
    assert value is not None
    assert len(b64decode(value[1])) == 256
    assert "ne se vérifie pas" in refused(document.replace(value[1][:4], b"AAAA", 1)).reason


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (replacing('URI="#BORD1"', 'URI="#AUTRE"'), "désigne « #AUTRE »"),
        (replacing('URI="#BORD1"', 'URI=""'), "désigne «  »"),
        (replacing("#BORD1_SIG_1_SP", "#AUTRE"), "ses propres propriétés"),
        (replacing('Target="#BORD1_SIG_1"', 'Target="#AUTRE"'), "propriétés XAdES"),
        (replacing("v1.2.2", "v1.3.2"), "propriétés XAdES"),
        (replacing("rsa-sha256", "rsa-sha512"), "n'est pas admis"),
        (replacing("2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1"), "SHA-1"),
        (replacing("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1"), "SHA-1"),
        (replacing("2001/10/xml-exc-c14n#", "TR/2001/REC-xml-c14n-20010315"), "canonicalisation"),
        (
            replacing('<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>', ""),
            "transf",
        ),
        (replacing("09:30:15Z", "09:30:15+02:00"), "temps universel"),
        (replacing("09:30:15Z", "09:30:15"), "temps universel"),
        (replacing("2026-03-02T", "hier "), "pas lisible"),
        (replacing("<xad:SigningTime>2026", "<xad:SigningTime>2046"), "n'était pas valide le 02/03/2046"),
        (replacing("<ds:X509SerialNumber>", "<ds:X509SerialNumber>1"), "que désignent ses propriétés"),
        (replacing("<ds:X509Certificate>", "<ds:X509Certificate>AAAA"), "illisible"),
        (replacing("<xad:City>", "<!-- a --><xad:City>"), "commentaire"),
        (lambda part: re.sub(r"<ds:KeyInfo>.*</ds:KeyInfo>", "", part), "que désignent ses propriétés"),
        (lambda part: re.sub(r"<xad:SigningTime>.*</xad:SigningTime>", "", part), "« SigningTime »"),
        (lambda part: re.sub(r"<ds:Object>.*</ds:Object>", "", part), "propriétés XAdES"),
        (replacing("</ds:Object>", "</ds:Object><ds:Manifest/>"), "ne se vérifie pas"),
        (lambda part: re.sub(r"<ds:Transforms>.*?</ds:Transforms>", "", part), "transformations"),
    ],
)
def test_a_form_that_hides_something_is_refused(edit: Edit, words: str) -> None:
    assert words in refused(signed_after(edit)).reason


def test_a_signature_moved_to_another_element_is_refused() -> None:
    document = signed(flux(depense=(bordereau(1),), recette=(bordereau(2),)))
    first, second = re.findall(rb"<ds:Signature .*?</ds:Signature>", document)
    swapped = document.replace(first, b"@").replace(second, first).replace(b"@", second)
    assert "désigne « #BORD2 »" in refused(swapped).reason


def test_a_signed_bordereau_wrapped_away_does_not_vouch_for_its_substitute() -> None:
    document = signed(ONE)
    original = re.search(rb"<Bordereau.*</Bordereau>", document, re.DOTALL)
    signature = re.search(rb"<ds:Signature .*</ds:Signature>", document)
    assert original is not None
    assert signature is not None
    forged = b'<Bordereau Id="FAUX"><Obj V="detourne"/>' + signature[0] + b"</Bordereau>"
    hidden = original[0].replace(signature[0], b"")
    wrapped = document.replace(original[0], forged).replace(b"<PES_PJ/>", b"<PES_PJ>" + hidden + b"</PES_PJ>")
    assert refused(wrapped).element_id == "FAUX"


def test_a_duplicate_id_is_refused() -> None:
    document = signed(ONE).replace(b"<PES_PJ/>", b'<PES_PJ Id="BORD1"/>')
    assert "2 éléments portent cet Id" in refused(document).reason


def test_a_second_signature_of_one_element_is_refused() -> None:
    document = signed(ONE)
    signature = re.search(rb"<ds:Signature .*</ds:Signature>", document)
    assert signature is not None
    second = signature[0].replace(b"_SIG_1", b"_SIG_2")
    assert "plusieurs signatures" in refused(document.replace(signature[0], signature[0] + second)).reason


def test_a_signature_outside_a_bordereau_and_the_root_is_refused() -> None:
    document = signed(ONE).replace(b"<Bordereau", b"<Autre").replace(b"</Bordereau", b"</Autre")
    assert "n'est placée ni" in refused(document).reason


def test_a_certificate_other_than_the_one_named_is_refused() -> None:
    who, key = signatory(), rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Usurpation")])
    other = (
        x509.CertificateBuilder(name, name, key.public_key(), who.certificate.serial_number)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    document = signed(ONE).replace(xades._key_info(who.certificate).encode(), xades._key_info(other).encode())
    assert "que désignent ses propriétés" in refused(document).reason


@pytest.mark.parametrize("document", [b"", b"PK\x03\x04", b"<!DOCTYPE a><a/>"])
def test_what_is_not_readable_xml_is_refused(document: bytes) -> None:
    assert refused(document).element_id == ""


def test_a_document_that_is_only_a_signature_is_refused() -> None:
    assert "n'est placée ni" in refused(f'<ds:Signature xmlns:ds="{xades.DS}"/>'.encode()).reason


@pytest.mark.parametrize("name", ["DigestValue", "SignatureValue"])
def test_an_empty_value_is_refused(name: str) -> None:
    emptied = re.sub(rf"(<ds:{name}[^>]*>)[^<]*".encode(), rb"\1", signed(ONE))
    assert f"« {name} »" in refused(emptied).reason


def test_a_key_beside_the_certificate_does_not_count() -> None:
    modulus = "<ds:Modulus></ds:Modulus><ds:Exponent></ds:Exponent>"
    key = f"<ds:KeyValue><ds:RSAKeyValue>{modulus}</ds:RSAKeyValue></ds:KeyValue>"
    assert verify(signed_after(replacing("<ds:KeyInfo>", f"<ds:KeyInfo>{key}")))


@settings(max_examples=300, deadline=None)
@given(position=st.integers(min_value=0), byte=st.binary(min_size=0, max_size=3))
def test_damage_is_refused_or_harmless_but_never_a_crash(position: int, byte: bytes) -> None:
    document = signed(ONE)
    position %= len(document)
    damaged = document[:position] + byte + document[position + 1 :]
    try:
        verified = verify(damaged)
    except SignatureInvalidError:
        return
    assert all(one.certificate == signatory().certificate for one in verified)


def test_a_genuine_flux_without_signature_has_nothing_to_verify() -> None:
    assert verify(official_sample("PESALR1_depense_pj.xml")) == []

import re
from base64 import b64decode, b64encode
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pes.reading import xml as pes
from pes.vocabulary import Finding
from signing import checks, xades
from signing.algorithms import DS
from signing.checks import Check
from signing.report import Classification
from signing.second_opinion import VerifiersDisagreeError, require_agreement
from signing.verification import verify
from tests.pki import ec_key, issue, rsa_key
from tests.real.official import official_sample
from tests.signing import (
    GLOBAL,
    NOW,
    ONE,
    Edit,
    bordereau,
    flux,
    replacing,
    signatory,
    signed,
    signed_after,
    verify_both,
    verify_with_xmlsec,
)
from tests.unit.signing.test_xades import SHAPES


def found_in(document: bytes) -> list[Finding]:
    """Return everything found in a document."""
    return list(verify(document).all_findings)


def refused(document: bytes) -> Finding:
    """Return the one blocking finding that a document must have."""
    report = verify(document)
    assert report.verdict == "invalid"
    (blocking,) = [finding for finding in report.all_findings if finding.severity == "blocking"]
    return blocking


def codes(document: bytes) -> list[str]:
    return [finding.code for finding in found_in(document)]


# --- What holds --------------------------------------------------------------------------------------------


def test_a_verified_signature_says_who_signed_what_and_when() -> None:
    report = verify(signed(ONE))
    (one,) = report.signatures
    assert (report.verdict, report.classification, report.findings) == ("valid", Classification.BORDEREAUX, ())
    assert (one.signature_id, one.element_id, one.is_global) == ("BORD1_SIG_1", "BORD1", False)
    assert one.form == "xades-env-1.2.2-sha256"
    assert one.signing_time == NOW.replace(microsecond=0)
    assert one.signer == "CN=Ordonnateur de démonstration,O=Commune de Démonstration,C=FR"
    assert one.certificate == signatory().certificate
    assert (one.claimed_role, one.policy) == ("Ordonnateur", "urn:oid:1.2.250.1.131.1.5.18.21.1.7")
    assert one.findings == ()


def test_every_signature_is_verified_in_document_order() -> None:
    found = verify_both(signed(SHAPES["dépense and recette"]))
    assert [one.element_id for one in found] == ["BORD1", "BORD2", "BORD3"]


def test_a_signature_of_the_root_is_global() -> None:
    assert [(one.element_id, one.is_global) for one in verify_both(signed(GLOBAL))] == [("FLUX1", True)]


def test_no_signature_is_nothing_to_verify() -> None:
    assert verify(ONE).verdict == "unsigned"
    assert verify(ONE).classification is Classification.UNSIGNED


def test_a_genuine_signature_holds_though_its_policy_digest_is_cut() -> None:
    document = official_sample()
    (found,) = verify_both(document)
    assert (found.element_id, found.is_global, found.findings) == ("BORD822933", False, ())
    assert found.signing_time == datetime(2018, 7, 5, 15, 45, 17, tzinfo=UTC)
    assert found.certificate is not None
    assert found.certificate.not_valid_after_utc < datetime(2019, 1, 1, tzinfo=UTC)
    assert verify_with_xmlsec(document) == 1


def test_a_genuine_flux_without_signature_has_nothing_to_verify() -> None:
    assert verify(official_sample("PESALR1_depense_pj.xml")).verdict == "unsigned"


SHA1 = replacing("2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1")


def sha1_era(part: str) -> str:
    """Write a signature as it was before 2018."""
    part = SHA1(part).replace("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1").replace("v1.2.2", "v1.1.1")
    return part.replace("21.1.7<", "21.1.4<").replace(
        "roF9+cfRHNPtVJolhdqfIqGMVuUXX8aR4rpiquf0u5E=", "Jkdb+aba0Hz6+ZPKmKNhPByzQ+Q="
    )


@pytest.mark.parametrize(
    ("edit", "form", "expected"),
    [
        (replacing("v1.2.2", "v1.1.1"), "xades-env-1.1.1-sha256", []),
        (replacing("/v1.2.2#SignedProperties", "#SignedProperties"), "xades-env-1.2.2-sha256", []),
        (replacing('Target="#', 'Target="'), "xades-env-1.2.2-sha256", []),
        (replacing("<ds:X509Certificate>", "<ds:X509Certificate>\n"), "xades-env-1.2.2-sha256", []),
        (replacing("/xml-exc-c14n#", "/xml-exc-c14n#WithComments"), "xades-env-1.2.2-sha256", []),
        (replacing("rsa-sha256", "rsa-sha512"), "xades-env-1.2.2-sha512", []),
        (replacing("rsa-sha256", "rsa-sha384"), "xades-env-1.2.2-sha384", []),
        (sha1_era, "xades-env-1.1.1-sha1", ["signature.sha1-era"]),
        (SHA1, "xades-env-1.2.2-sha1", ["signature.sha1-era"]),
        (
            lambda part: re.sub(r"<xad:SigningCertificate>.*</xad:SigningCertificate>", "", part),
            "xades-env-1.2.2-sha256",
            ["signature.certificate"],
        ),
        (
            lambda part: re.sub(r"<xad:SignaturePolicyIdentifier>.*</xad:SignaturePolicyIdentifier>", "", part),
            "xades-env-1.2.2-sha256",
            ["signature.policy"],
        ),
        (replacing("u5E=<", "u5E<"), "xades-env-1.2.2-sha256", []),
        (replacing("roF9+cf", "AAAAAAA"), "xades-env-1.2.2-sha256", ["signature.policy"]),
        (replacing("21.1.7<", "21.1.8<"), "xades-env-1.2.2-sha256", ["signature.policy"]),
        (
            replacing("<xad:ClaimedRole>Ordonnateur", "<xad:ClaimedRole>"),
            "xades-env-1.2.2-sha256",
            ["signature.role"],
        ),
        (replacing("O=Heliotrope", "O=Autre"), "xades-env-1.2.2-sha256", ["signature.issuer-name"]),
        (replacing("O=Heliotrope,C=FR", "O=Heliotrope, C=FR"), "xades-env-1.2.2-sha256", []),
        (
            lambda part: re.sub(r"1\.2\.840\.113549\.1\.9\.1=#\w+", "E=demonstration@heliotrope.invalid", part),
            "xades-env-1.2.2-sha256",
            [],
        ),
    ],
    ids=[
        "XAdES 1.1.1",
        "type without version",
        "STELA's target",
        "a newline before the certificate (#714)",
        "with comments",
        "RSA-SHA512",
        "RSA-SHA384",
        "the SHA-1 era",
        "SHA-1 in the new form",
        "no SigningCertificate",
        "no policy",
        "a policy digest without padding",
        "another policy digest",
        "an unknown policy",
        "no role",
        "another issuer's name",
        "an issuer's name with spaces",
        "an issuer's name as people write it",
    ],
)
def test_forms_that_others_write_hold_and_what_is_odd_is_said(edit: Edit, form: str, expected: list[str]) -> None:
    document = signed_after(edit)
    (one,) = verify_both(document)
    assert (one.form, [finding.code for finding in one.findings]) == (form, expected)
    assert verify_with_xmlsec(document) == 1


@pytest.mark.parametrize(
    ("curve", "method"),
    [(ec.SECP256R1, "ecdsa-sha256"), (ec.SECP384R1, "ecdsa-sha384"), (ec.SECP521R1, "ecdsa-sha512")],
)
def test_ecdsa_holds_on_the_usual_curves(curve: type[ec.EllipticCurve], method: str) -> None:
    holder = issue("Courbe", ec_key(curve))
    edit = replacing("rsa-sha256", method)
    document = signed_after(edit, certificate=holder.certificate, key=holder.key)
    assert len(verify_both(document)) == verify_with_xmlsec(document) == 1


def test_an_empty_reference_means_the_root() -> None:
    document = signed_after(replacing('URI="#FLUX1"', 'URI=""'), GLOBAL)
    assert [one.is_global for one in verify_both(document)] == [True]


def test_whitespace_inside_tags_is_not_content() -> None:
    assert verify_both(signed(ONE).replace(b"<Obj V", b"<Obj  V"))


def test_the_key_of_the_certificate_may_stand_beside_it() -> None:
    numbers = signatory().key.public_key().public_numbers()
    held = {
        name: b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()
        for name, value in (("Modulus", numbers.n), ("Exponent", numbers.e))
    }
    values = "".join(f"<ds:{name}>{value}</ds:{name}>" for name, value in held.items())
    key = f"<ds:KeyValue><ds:RSAKeyValue>{values}</ds:RSAKeyValue></ds:KeyValue>"
    assert verify_both(signed_after(replacing("<ds:KeyInfo>", f"<ds:KeyInfo>{key}")))


# --- How a document is signed as a whole ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depense", "info", "expected"),
    [
        (bordereau(1, attribute=""), "1", Classification.GLOBAL_BUSINESS),
        (bordereau(1, attribute=""), "0", Classification.GLOBAL_TECHNICAL),
    ],
)
def test_a_global_signature_is_told_by_info_dematerialisee(depense: str, info: str, expected: Classification) -> None:
    document = flux(depense=(depense,), root=' Id="FLUX1"').replace(
        b"<EnTete/>", f'<EnTeteDepense><InfoDematerialisee V="{info}"/></EnTeteDepense>'.encode()
    )
    assert verify(signed(document)).classification is expected


def test_a_bordereau_without_signature_beside_others_is_refused() -> None:
    document = signed(SHAPES["five bordereaux"])
    missing = re.sub(rb"<ds:Signature [^>]*BORD3_SIG.*?</ds:Signature>", b"", document, flags=re.DOTALL)
    report = verify(missing)
    assert (report.verdict, report.classification) == ("invalid", Classification.INCOMPLETE)
    assert [one.holds for one in report.signatures] == [True] * 4
    assert "Bordereaux non signés, 1 sur 5" in report.findings[0].message
    assert "BORD3" in report.findings[0].message


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
    finding = refused(signed(ONE).replace(old, new))
    assert (finding.code, finding.where.bordereau) == ("signature.content", "BORD1")
    assert "modifié depuis la signature" in finding.message


def test_only_the_altered_bordereau_is_named_and_the_others_hold() -> None:
    report = verify(signed(SHAPES["five bordereaux"]).replace(b"Fournitures 4", b"Fournitures 9"))
    assert [one.holds for one in report.signatures] == [True, True, True, False, True]
    assert [finding.where.bordereau for finding in report.all_findings] == ["BORD4"]


@pytest.mark.parametrize("old", [b"Ordonnateur<", b"09:30:15Z", b"Saint-Exemple", b"roF9"])
def test_properties_that_changed_are_refused(old: bytes) -> None:
    document = signed(ONE)
    start = document.index(old)
    edited = document[:start] + old.translate(bytes.maketrans(b"0raF", b"1xxx")) + document[start + len(old) :]
    assert refused(edited).code == "signature.properties"


def test_a_value_made_with_another_key_is_refused() -> None:
    document = signed(ONE)
    value = re.search(rb"_SV\">([^<]*)", document)
    assert value is not None
    assert len(b64decode(value[1])) == 256
    assert refused(document.replace(value[1][:4], b"AAAA", 1)).code == "signature.value"


def removing(name: str) -> Edit:
    return lambda part: re.sub(rf"<{name}>.*?</{name}>", "", part)


@pytest.mark.parametrize(
    ("edit", "check", "words"),
    [
        (replacing('URI="#BORD1"', 'URI="#AUTRE"'), checks.REFERENCE, "désigne « #AUTRE »"),
        (replacing('URI="#BORD1"', 'URI=""'), checks.REFERENCE, "désigne «  »"),
        (replacing("#BORD1_SIG_1_SP", "#AUTRE"), checks.REFERENCE, "ses propres propriétés"),
        (replacing('Target="#BORD1_SIG_1"', 'Target="#AUTRE"'), checks.STRUCTURE, "d’une autre signature"),
        (replacing("v1.2.2", "v1.3.2"), checks.STRUCTURE, "propriétés XAdES"),
        (replacing("rsa-sha256", "rsa-md5"), checks.ALGORITHM, "n’est pas admis"),
        (replacing("rsa-sha256", "hmac-sha256"), checks.ALGORITHM, "hmac-sha256"),
        (replacing("rsa-sha256", "ecdsa-sha256"), checks.KEY, "ECDSA"),
        (replacing("xmlenc#sha256", "xmldsig-more#md5"), checks.ALGORITHM, "empreinte"),
        (replacing("2001/10/xml-exc-c14n#", "TR/2001/REC-xml-c14n-20010315"), checks.ALGORITHM, "exclusive"),
        (
            replacing('<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>', ""),
            checks.TRANSFORMS,
            "transformations",
        ),
        (replacing("09:30:15Z", "09:30:15+02:00"), checks.TIME, "temps universel"),
        (replacing("09:30:15Z", "09:30:15"), checks.TIME, "temps universel"),
        (replacing("2026-03-02T", "hier "), checks.TIME, "temps universel"),
        (removing("xad:SigningTime"), checks.TIME, "quand"),
        (replacing("<ds:X509SerialNumber>", "<ds:X509SerialNumber>1"), checks.CERTIFICATE, "que désignent"),
        (replacing("<ds:X509Certificate>", "<ds:X509Certificate>AAAA"), checks.CERTIFICATE, "illisible"),
        (replacing("<ds:X509Certificate>", "<ds:X509Certificate>é"), checks.CERTIFICATE, "base64"),
        (replacing("<xad:City>", "<!-- a --><xad:City>"), checks.STRUCTURE, "commentaire"),
        (replacing("<xad:City>", "<?a b?><xad:City>"), checks.STRUCTURE, "commentaire"),
        (removing("ds:KeyInfo"), checks.CERTIFICATE, "que désignent"),
        (removing("ds:Object"), checks.STRUCTURE, "absentes"),
        (removing("ds:Transforms"), checks.TRANSFORMS, "transformations"),
        (replacing("</ds:Object>", "</ds:Object><ds:Manifest/>"), checks.STRUCTURE, "XMLDSig"),
        (replacing("<ds:Object>", "<ds:Object><a/>"), checks.STRUCTURE, "autre chose"),
        (replacing(' Id="BORD1_SIG_1"', ""), checks.IDENTIFIERS, "pas d’Id"),
    ],
)
def test_a_form_that_hides_something_is_refused(edit: Edit, check: Check, words: str) -> None:
    finding = refused(signed_after(edit))
    assert finding.code == check.code
    assert words in finding.message


def test_a_namespace_that_cannot_be_canonicalised_is_refused() -> None:
    document = signed(ONE).replace(b"<Note>", b'<Note xmlns="relatif">')
    finding = refused(document)
    assert (finding.code, "canonicalisation" in finding.message) == ("signature.structure", True)


def test_a_certificate_other_than_the_one_named_is_refused() -> None:
    who, key = signatory(), rsa_key(9)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Usurpation")])
    other = (
        x509.CertificateBuilder(name, name, key.public_key(), who.certificate.serial_number)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    document = signed(ONE).replace(xades._key_info(who.certificate).encode(), xades._key_info(other).encode())
    assert refused(document).code == "signature.certificate"


def test_two_certificates_that_nothing_tells_apart_are_refused() -> None:
    held = xades._key_info(signatory().certificate)
    other = xades._key_info(issue("Autre", rsa_key(9)).certificate)
    both = held.replace(
        "</ds:X509Data>", re.findall("<ds:X509Certificate>.*</ds:X509Certificate>", other)[0] + "</ds:X509Data>"
    )

    def edit(part: str) -> str:
        return removing("xad:SigningCertificate")(part).replace(held, both)

    assert refused(signed_after(edit)).code == "signature.certificate"


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_weak_key_is_refused(bits: int) -> None:
    weak = issue("Faible", rsa_key(0, bits))
    finding = refused(signed_after(str, certificate=weak.certificate, key=weak.key))
    assert (finding.code, f"{bits} bits" in finding.message) == ("signature.key", True)


def test_an_unusual_curve_is_refused() -> None:
    holder = issue("Courbe", ec_key(ec.SECP256K1))
    edit = replacing("rsa-sha256", "ecdsa-sha256")
    assert refused(signed_after(edit, certificate=holder.certificate, key=holder.key)).code == "signature.key"


def test_an_ecdsa_value_as_openssl_writes_it_is_refused() -> None:
    holder = issue("Courbe", ec_key())
    document = signed_after(replacing("rsa-sha256", "ecdsa-sha256"), certificate=holder.certificate, key=holder.key)
    value = re.search(rb"_SV\">([^<]*)", document)
    assert value is not None
    longer = b64encode(b64decode(value[1]) + b"\0\0")
    assert refused(document.replace(value[1], longer)).code == "signature.value"


@pytest.mark.parametrize("document", [b"", b"PK\x03\x04", b"<!DOCTYPE a><a/>", b"<a>", b"\xff\xfe<"])
def test_what_is_not_readable_xml_is_refused(document: bytes) -> None:
    assert refused(document).code == "signature.unreadable"


def test_a_document_that_is_only_a_signature_is_refused() -> None:
    assert refused(f'<ds:Signature xmlns:ds="{DS}"/>'.encode()).code == "signature.placement"


@pytest.mark.parametrize(
    ("name", "code"),
    [("DigestValue", "signature.content"), ("SignatureValue", "signature.value")],
)
@pytest.mark.parametrize("value", [rb"", rb"%%%", rb"A=A="])
def test_a_value_that_is_no_base64_is_refused(name: str, code: str, value: bytes) -> None:
    emptied = re.sub(rf"(<ds:{name}[^>]*>)[^<]*".encode(), rb"\g<1>" + value, signed(ONE), count=1)
    assert refused(emptied).code == code


def test_a_flux_of_too_many_signatures_is_refused_at_once() -> None:
    many = ONE.replace(b"<PES_PJ/>", f'<ds:Signature xmlns:ds="{DS}"/>'.encode() * 10_001)
    assert refused(many).code == "signature.structure"


# --- Every byte ----------------------------------------------------------------------------------------------


def test_an_altered_byte_is_refused_wherever_it_is_unless_what_is_signed_is_the_same() -> None:
    document = signed(ONE)
    genuine = verify(document).signatures[0]
    verdicts: Counter[str] = Counter()
    for position in range(len(document)):
        altered = document[:position] + bytes([document[position] ^ 1]) + document[position + 1 :]
        report = verify(altered)
        verdicts[report.verdict] += 1
        if report.verdict == "valid":  # outside of what is signed, or written another way
            (one,) = report.signatures
            assert (one.certificate, one.signing_time) == (genuine.certificate, genuine.signing_time), position
            assert signed_bytes(altered) == signed_bytes(document), position
            require_agreement(altered, report)
    assert verdicts["valid"] < len(document) / 30


def signed_bytes(document: bytes) -> bytes:
    """Return what the signature covers: the bordereau without it."""
    root = pes.read(document)
    (bordereau_signed,) = root.iterfind("PES_DepenseAller/Bordereau")
    (signature,) = bordereau_signed.iterchildren(f"{{{DS}}}Signature")
    bordereau_signed.remove(signature)
    return xades.canonical(bordereau_signed)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(min_value=0), byte=st.binary(min_size=0, max_size=3))
def test_damage_is_refused_or_harmless_but_never_a_crash(position: int, byte: bytes) -> None:
    document = signed(ONE)
    position %= len(document)
    damaged = document[:position] + byte + document[position + 1 :]
    report = verify(damaged)
    if report.verdict == "valid":
        assert [one.certificate for one in report.signatures] == [signatory().certificate]


# --- Two programs --------------------------------------------------------------------------------------------


def test_a_disagreement_between_the_two_programs_stops_the_flux() -> None:
    document = signed(ONE)
    report = verify(document)
    require_agreement(document, report)
    with pytest.raises(VerifiersDisagreeError, match="BORD1"):
        require_agreement(document.replace(b"Fournitures 1", b"Fournitures 2"), report)

"""Signature wrapping: files where something genuine is signed, and something else would be read.

Each variant begins with a genuine signed file. What the attacker wants is that DGFiP reads `detourne`, and that the
signature still holds for a program that looks the signed element up by its Id.
"""

import re
from collections import Counter
from dataclasses import dataclass

import pytest
import xmlsec

from signing.algorithms import DS, XADES
from signing.second_opinion import require_agreement
from signing.verification import verify
from tests.signing import GLOBAL, ONE, Edit, bordereau, flux, replacing, signed, signed_after, verify_with_xmlsec

TWO = flux(depense=(bordereau(1), bordereau(2)))
FORGED = '<Obj V="detourne"/>'
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XPATH_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"


@dataclass(frozen=True)
class Attack:
    """A file, and the check that must refuse it."""

    document: bytes
    code: str


def genuine() -> tuple[str, str, str]:
    """Return a signed file, its bordereau and its signature, as text."""
    document = signed(ONE).decode("latin-1")
    held = re.search(r"<Bordereau.*</Bordereau>", document, re.DOTALL)
    signature = re.search(r"<ds:Signature .*</ds:Signature>", document, re.DOTALL)
    assert held is not None
    assert signature is not None
    return document, held[0], signature[0]


def attacks() -> dict[str, Attack]:
    document, held, signature = genuine()
    unsigned = held.replace(signature, "")

    def put(new: str, elsewhere: str = "", **more: str) -> bytes:
        """Put something in the bordereau's place, and something else where nobody reads."""
        text = document.replace(held, new).replace("<PES_PJ/>", f"<PES_PJ>{elsewhere}</PES_PJ>")
        for old, replaced in more.items():
            text = text.replace(f"<{old}/>", replaced)
        return text.encode("latin-1")

    def forged(element_id: str, inside: str) -> str:
        return f'<Bordereau Id="{element_id}">{FORGED}{inside}</Bordereau>'

    def inside_signature(what: str) -> str:
        return signature.replace("</ds:Object>", f"</ds:Object><ds:Object>{what}</ds:Object>")

    unreferenced = document.replace(' Id="BORD1">', ">", 1)
    transform = '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'

    def transformed(new: str) -> bytes:
        return signed_after(replacing(transform, new))

    return {
        "moved: the signed element hidden, the signature on the forged one": Attack(
            put(forged("FAUX", signature), unsigned), "signature.reference"
        ),
        "duplicated: the forged one takes the Id of the signed one": Attack(
            put(forged("BORD1", signature), unsigned), "signature.id"
        ),
        "duplicated: both in the accounts": Attack(put(forged("BORD1", "") + held), "signature.id"),
        "duplicated after: both in the accounts": Attack(put(held + forged("BORD1", "")), "signature.id"),
        "duplicated: the signed one hidden with its signature": Attack(
            put(forged("BORD1", ""), held), "signature.placement"
        ),
        "nested: the signed one inside the forged one": Attack(
            put(forged("FAUX", unsigned + signature)), "signature.reference"
        ),
        "nested with its signature": Attack(put(forged("FAUX", held)), "signature.placement"),
        "sibling: an unsigned one beside the signed one": Attack(
            put(held + forged("FAUX", "")), "signature.incomplete"
        ),
        "sibling: the signature between two bordereaux": Attack(
            put(forged("FAUX", "") + unsigned + signature), "signature.placement"
        ),
        "wrapped in an Object of the signature": Attack(
            put(forged("FAUX", inside_signature(unsigned))), "signature.structure"
        ),
        "wrapped in an Object, under the same Id": Attack(
            put(forged("BORD1", inside_signature(unsigned))), "signature.structure"
        ),
        "wrapped in the XAdES properties": Attack(
            put(forged("FAUX", signature.replace("<xad:SignedProperties", f"{unsigned}<xad:SignedProperties"))),
            "signature.reference",
        ),
        "wrapped in a foreign element around the signature": Attack(
            put(forged("FAUX", f"<x>{unsigned}{signature}</x>")), "signature.placement"
        ),
        "a second signature in the element": Attack(
            put(held.replace(signature, signature + signature.replace("_SIG_1", "_SIG_2"))), "signature.placement"
        ),
        "a genuine signature moved to the root": Attack(
            put(forged("FAUX", ""), unsigned).replace(b"</n:PES_Aller>", signature.encode() + b"</n:PES_Aller>"),
            "signature.reference",
        ),
        "Id collision: ID beside Id": Attack(
            put(held, '<Bordereau ID="BORD1">' + FORGED + "</Bordereau>"), "signature.id"
        ),
        "Id collision: id": Attack(put(held, f'<x id="BORD1">{FORGED}</x>'), "signature.id"),
        "Id collision: xml:id": Attack(put(held, f'<x xml:id="BORD1">{FORGED}</x>'), "signature.id"),
        "Id collision: written with a reference to a character": Attack(
            put(held, f'<x Id="BORD&#49;">{FORGED}</x>'), "signature.id"
        ),
        "Id collision: with spaces around": Attack(put(held, f'<x Id=" BORD1 ">{FORGED}</x>'), "signature.id"),
        "Id collision: in another namespace": Attack(
            put(held, f'<x xmlns:y="urn:y" y:Id="BORD1">{FORGED}</x>'), "signature.id"
        ),
        "Id collision: on the signature itself": Attack(
            put(held, f'<x Id="BORD1_SIG_1">{FORGED}</x>'), "signature.id"
        ),
        "Id collision: on the signed properties": Attack(
            put(held, f'<xad:SignedProperties xmlns:xad="{XADES}" Id="BORD1_SIG_1_SP"/>'), "signature.id"
        ),
        "the Id taken away, and the reference with it": Attack(unreferenced.encode("latin-1"), "signature.reference"),
        "an empty reference in a bordereau": Attack(
            signed_after(replacing('URI="#BORD1"', 'URI=""')), "signature.reference"
        ),
        "no reference at all": Attack(signed_after(replacing(' URI="#BORD1"', "")), "signature.reference"),
        "a reference to another bordereau": Attack(
            signed_after(lambda part: part.replace('URI="#BORD2"', 'URI="#BORD1"'), TWO), "signature.reference"
        ),
        "a reference outside the file": Attack(
            signed_after(replacing('URI="#BORD1"', 'URI="http://127.0.0.1:9/flux.xml"')), "signature.reference"
        ),
        "a reference to a file": Attack(
            signed_after(replacing('URI="#BORD1"', 'URI="file:///etc/hostname"')), "signature.reference"
        ),
        "an XPointer": Attack(
            signed_after(replacing('URI="#BORD1"', "URI=\"#xpointer(id('BORD1'))\"")), "signature.reference"
        ),
        "the root as an XPointer": Attack(
            signed_after(replacing('URI="#FLUX1"', 'URI="#xpointer(/)"'), GLOBAL), "signature.reference"
        ),
        "an XPath transform": Attack(
            transformed(f'{transform}<ds:Transform Algorithm="{XPATH}"><ds:XPath>false()</ds:XPath></ds:Transform>'),
            "signature.transforms",
        ),
        "an XPath filter": Attack(
            transformed(
                f'<ds:Transform Algorithm="{XPATH_FILTER}"><f:XPath xmlns:f="{XPATH_FILTER}" '
                f'Filter="subtract">//Obj</f:XPath></ds:Transform>'
            ),
            "signature.transforms",
        ),
        "an XSLT transform": Attack(
            transformed(f'{transform}<ds:Transform Algorithm="{XSLT}"/>'), "signature.transforms"
        ),
        "a base64 transform": Attack(
            transformed(f'{transform}<ds:Transform Algorithm="{DS}base64"/>'), "signature.transforms"
        ),
        "prefixes made inclusive": Attack(
            signed_after(
                lambda part: part.replace(
                    '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>',
                    '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"><i:InclusiveNamespaces '
                    'xmlns:i="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="n"/></ds:Transform>',
                )
            ),
            "signature.transforms",
        ),
        "a third reference": Attack(
            signed_after(lambda part: re.sub(r"(<ds:Reference URI.*?</ds:Reference>)", r"\1\1", part, count=1)),
            "signature.reference",
        ),
        "the properties not covered": Attack(
            signed_after(lambda part: re.sub(r"<ds:Reference Type.*?</ds:Reference>", "", part)),
            "signature.reference",
        ),
        "the properties of another signature": Attack(
            signed_after(replacing("#BORD1_SIG_1_SP", "#BORD1_SIG_1"), ONE), "signature.reference"
        ),
        "other properties before the signed ones": Attack(
            put(
                held.replace(
                    "<ds:Object>",
                    f'<ds:Object><xad:QualifyingProperties xmlns:xad="{XADES}" Target="#BORD1_SIG_1">'
                    "<xad:SignedProperties/></xad:QualifyingProperties></ds:Object><ds:Object>",
                )
            ),
            "signature.structure",
        ),
        "a manifest instead of the content": Attack(
            signed_after(replacing('<ds:Reference URI="#BORD1">', f'<ds:Reference Type="{DS}Manifest" URI="#X">')),
            "signature.reference",
        ),
        "a bordereau in a namespace of its own": Attack(
            document.replace("<Bordereau ", '<Bordereau xmlns="urn:x" ').encode("latin-1"), "signature.placement"
        ),
        "a bordereau added without signature, as another program would see it signed": Attack(
            TWO.replace(b"</Bordereau>", signature.encode() + b"</Bordereau>", 1), "signature.incomplete"
        ),
        "text between the parts of the signature": Attack(
            put(held.replace("</ds:SignedInfo>", "</ds:SignedInfo>detourne")), "signature.structure"
        ),
        "a key beside the certificate": Attack(
            put(
                held.replace(
                    "<ds:KeyInfo>",
                    "<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus>"
                    "<ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>",
                )
            ),
            "signature.key",
        ),
        "a key to be fetched elsewhere": Attack(
            put(held.replace("<ds:KeyInfo>", '<ds:KeyInfo><ds:RetrievalMethod URI="http://127.0.0.1:9/k"/>')),
            "signature.structure",
        ),
    }


ATTACKS = attacks()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_wrapped_signature_is_refused_for_the_right_reason(attack: Attack) -> None:
    report = verify(attack.document)
    assert report.verdict == "invalid"
    assert attack.code in [one.code for one in report.all_findings if one.severity == "blocking"]
    assert all(one.message.endswith(".") and one.next for one in report.all_findings)


def test_the_attacks_are_worth_refusing() -> None:
    """Some of these files are good for xmlsec: its signatures hold, of something that nobody reads."""
    accepted = []
    for name, attack in ATTACKS.items():
        try:
            verify_with_xmlsec(attack.document)
        except (xmlsec.Error, ValueError, TypeError):
            continue
        accepted.append(name)
    assert "moved: the signed element hidden, the signature on the forged one" in accepted
    assert len(accepted) >= 12


def test_a_signed_file_is_the_base_of_every_attack() -> None:
    document, _, _ = genuine()
    assert verify(document.encode("latin-1")).verdict == "valid"


COLLISIONS = [
    name for name in ATTACKS if name.startswith(("Id collision", "duplicated: the forged", "duplicated: both"))
]
SCREENS = ['<!-- id=" -->', "<!-- id=' -->", "<y a='id=\"'/>", '<y>id="</y>', "<![CDATA[id='\"]]>", '<?p id="?>']


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", COLLISIONS)
def test_nothing_that_stands_before_an_id_hides_it(name: str, screen: str) -> None:
    document = ATTACKS[name].document
    for place in (b"<Bordereau", b"<x ", b"<PES_PJ>", b"<xad:SignedProperties xmlns:xad"):
        if place in document:
            assert verify(document.replace(place, screen.encode() + place)).verdict == "invalid", place


def test_an_id_is_hidden_by_no_attribute_of_its_own_element() -> None:
    document = genuine()[0].replace("<PES_PJ/>", f'<PES_PJ><x y=\'id="\' Id="BORD1">{FORGED}</x></PES_PJ>')
    assert verify(document.encode("latin-1")).verdict == "invalid"


# --- Every change of the form --------------------------------------------------------------------------------


def changed(name: str, how: str) -> Edit:
    """Return what an attacker may do to the elements of a name, digests and value being made right again."""
    opening = re.compile(rf"<{name}(?=[ >/])")
    whole = re.compile(rf"<{name}(?=[ >/])(?:[^>]*/>|.*?</{name}>)")

    def put_inside(what: str, part: str) -> str:
        open_and_close = re.sub(rf"(<{name}(?=[ /])[^>]*)/>", rf"\1></{name}>", part)
        return open_and_close.replace(f"</{name}>", f"{what}</{name}>", 1)

    def edit(part: str) -> str:
        match how:
            case "twice":
                return whole.sub(lambda found: found[0] * 2, part, count=1)
            case "missing":
                return whole.sub("", part, count=1)
            case "renamed":
                return re.sub(rf"(</?){name}(?=[ >/])", r"\1ds:Autre", part)
            case "with an attribute":
                return opening.sub(f'<{name} a="b"', part, count=1)
            case "with a child":
                return put_inside("<ds:KeyName/>", part)
            case "with a text":
                return put_inside("x", part)
            case _:
                return opening.sub(f'<z xmlns="urn:z"/><{name}', part, count=1)

    return edit


HOW = ("twice", "missing", "renamed", "with an attribute", "with a child", "with a text", "after a stranger")
NAMES = sorted(set(re.findall(r"<((?:ds|xad):\w+)", genuine()[2])))
AROUND_THE_VALUE = ("ds:Signature", "ds:SignatureValue")  # never edited whole: what is signed ends before the value
CHANGES = {
    f"{name} {how}": changed(name, how)
    for name in NAMES
    for how in HOW
    if name not in AROUND_THE_VALUE or how not in ("twice", "missing")
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_form_is_refused_or_both_programs_hold_it(change: Edit) -> None:
    document = signed_after(change)
    assert document != signed(ONE)
    report = verify(document)
    if report.verdict == "valid":
        require_agreement(document, report)


def test_of_all_changed_forms_those_hold_that_change_nothing_that_is_read() -> None:
    verdicts = Counter(verify(signed_after(change)).verdict for change in CHANGES.values())
    assert verdicts == {"valid": 156, "invalid": 133, "unsigned": 1}


@pytest.mark.parametrize(
    "stated",
    [
        '<SigningTime xmlns="urn:x">2020-01-01T00:00:00Z</SigningTime><xad:SigningTime>',
        "<xad:SigningTime>2020-01-01T00:00:00Z</xad:SigningTime><xad:SigningTime>",
    ],
)
def test_two_signing_times_are_refused_whichever_another_program_would_read(stated: str) -> None:
    report = verify(signed_after(replacing("<xad:SigningTime>", stated)))
    assert [one.code for one in report.all_findings] == ["signature.structure"]


@pytest.mark.parametrize(
    "time", ["20260302T093015Z", "2026-W10-1T00:00:00Z", "2026-03-02 09:30:15Z", "2026-03-02T09Z"]
)
def test_a_signing_time_is_written_as_xml_writes_it(time: str) -> None:
    report = verify(signed_after(replacing("2026-03-02T09:30:15Z", time)))
    assert [one.code for one in report.all_findings] == ["signature.time"]

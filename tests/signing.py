"""A flux to sign, someone to sign it, and ways to make signatures that are not ours."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree

from local.keys.pki import ensure_demo_pki
from signing import xades
from signing.algorithms import DIGESTS, DS, SIGNATURE_METHODS, XADES
from signing.outline import Target, targets
from signing.report import SignatureReport
from signing.second_opinion import second_opinions
from signing.verification import verify
from signing.xades import Stated, complete, prepare, sign

NOW = datetime(2026, 3, 2, 9, 30, 15, 123456, tzinfo=UTC)
STATED = Stated(role="Ordonnateur", city="Saint-Exemple", postal_code="00100")
NAMESPACES = {"ds": DS, "xad": XADES}
ALLER = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller"

Edit = Callable[[str], str]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signatory:
    """Someone who signs."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def sign(self, to_sign: bytes) -> bytes:
        return self.key.sign(to_sign, padding.PKCS1v15(), hashes.SHA256())


@cache
def signatory() -> Signatory:
    with TemporaryDirectory() as folder:
        pki = ensure_demo_pki(Path(folder), NOW - timedelta(days=1))
        key = load_pem_private_key(pki.signer_key.read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return Signatory(x509.load_pem_x509_certificate(pki.signer_certificate.read_bytes()), key)


def bordereau(number: int, text: str = "Fournitures", attribute: str | None = None) -> str:
    attribute = f' Id="BORD{number}"' if attribute is None else attribute
    return f'  <Bordereau{attribute}>\n   <Obj V="{text} {number}"/>\n   <Note>{text}</Note>\n  </Bordereau>\n'


def flux(
    *,
    depense: tuple[str, ...] = (),
    recette: tuple[str, ...] = (),
    root: str = "",
    encoding: str = "ISO-8859-1",
) -> bytes:
    domains = "".join(
        f" <{name}>\n  <EnTete/>\n{''.join(bordereaux)} </{name}>\n"
        for name, bordereaux in (("PES_DepenseAller", depense), ("PES_RecetteAller", recette))
        if bordereaux
    )
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<n:PES_Aller xmlns:n="{ALLER}"{root}>\n'
        f" <Enveloppe/>\n{domains} <PES_PJ/>\n</n:PES_Aller>\n"
    ).encode(encoding)


def signed(document: bytes) -> bytes:
    return sign(document, key=signatory(), signing_time=NOW, stated=STATED)


ONE = flux(depense=(bordereau(1),))
GLOBAL = flux(depense=(bordereau(1), bordereau(2, attribute="")), root=' Id="FLUX1"')

GLOBAL = flux(depense=(bordereau(1), bordereau(2, attribute="")), root=' Id="FLUX1"')


def signatures(document: bytes) -> list[etree._Element]:
    return list(etree.fromstring(document).iter(f"{{{DS}}}Signature"))


def verify_with_xmlsec(document: bytes) -> int:
    """Verify with the C library that other verifiers are built on; return how many signatures held."""
    root = etree.fromstring(document)
    xmlsec.tree.add_ids(root, ["Id"])
    found = list(root.iter(f"{{{DS}}}Signature"))
    for signature in found:
        certificate = signature.findtext(".//ds:X509Certificate", namespaces=NAMESPACES)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(b64decode(certificate or ""), xmlsec.constants.KeyDataFormatCertDer)
        context.verify(signature)
    return len(found)


def verify_both(document: bytes) -> list[SignatureReport]:
    """Verify with our code and with signxml, which must say the same; return the signatures, which must hold."""
    report = verify(document)
    assert [one.holds for one in second_opinions(document, report)] == [one.holds for one in report.signatures]
    assert [finding for one in report.signatures for finding in one.findings if finding.severity == "blocking"] == []
    return list(report.signatures)


def signed_after(
    edit: Edit,
    document: bytes = ONE,
    *,
    certificate: x509.Certificate | None = None,
    key: Key | None = None,
    at: datetime = NOW,
) -> bytes:
    """Sign a form of our own: what is signed is edited, and digests and values are made right again for it."""
    who = signatory()
    named = who.certificate if certificate is None else certificate
    chosen = [one for one in targets(document) if not one.is_signed]
    prepared = prepare_anyway(document, chosen, certificate=named, signing_time=at)
    edited, values = [], []
    for one in prepared:
        before, after = (edit(part.decode()) for part in (one.before_value, one.after_value))
        before = _digested_again(document, before, after)
        info = re.search(r"<ds:SignedInfo[ >].*</ds:SignedInfo>", before)
        to_sign = xades.canonical(xades._alone(info[0])) if info else b""  # there may be none left
        values.append(value_of(to_sign, before, key or who.key))
        edited.append(replace(one, before_value=before.encode(), after_value=after.encode()))
    return complete(document, edited, values)


def prepare_anyway(
    document: bytes, chosen: list[Target], *, certificate: x509.Certificate, signing_time: datetime
) -> list[xades.Prepared]:
    """Prepare as if the certificate were fit to sign."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xades, "_check_certificate", lambda *_: None)
        return prepare(document, chosen, certificate=certificate, signing_time=signing_time, stated=STATED)


def _digested_again(document: bytes, before: str, after: str) -> str:
    """Make the digests of SignedInfo right for what was edited, with the algorithms that it names."""
    methods = [DIGESTS.get(name) for name in re.findall(r'<ds:DigestMethod Algorithm="([^"]*)"', before)] or [None]
    properties = re.search(r"<xad:QualifyingProperties.*?</xad:QualifyingProperties>", after)
    element_id = re.search(r'<ds:Reference URI="#([^"]*)"', before)
    parts = before.split("<ds:DigestValue>")
    if methods[-1] is not None and properties is not None and len(parts) == 3:
        octets = b"".join(map(xades.canonical, xades._alone(properties[0])[:1]))
        parts[2] = _digest(methods[-1], octets) + parts[2][parts[2].index("</") :]
    if methods[0] not in (None, "sha256") and element_id is not None:
        held = etree.fromstring(document).xpath("//*[@Id = $id]", id=element_id[1])
        parts[1] = _digest(str(methods[0]), xades.canonical(held[0])) + parts[1][parts[1].index("</") :]
    return "<ds:DigestValue>".join(parts)


def _digest(name: str, octets: bytes) -> str:
    digest = hashes.Hash(_algorithm(name))
    digest.update(octets)
    return b64encode(digest.finalize()).decode()


def _algorithm(name: str) -> hashes.HashAlgorithm:
    known = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}  # noqa: S303
    return known[name]


def value_of(to_sign: bytes, signed_info: str, key: Key) -> bytes:
    """Sign with the method that a SignedInfo names, or as usual when it names none that we know."""
    named = re.search(r'<ds:SignatureMethod Algorithm="([^"]*)"', signed_info)
    method = SIGNATURE_METHODS.get(named[1]) if named else None
    algorithm = _algorithm(method.digest if method else "sha256")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(to_sign, padding.PKCS1v15(), algorithm)
    length = (key.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(to_sign, ec.ECDSA(algorithm)))
    return r.to_bytes(length, "big") + s.to_bytes(length, "big")


def replacing(old: str, new: str) -> Edit:
    """Return the edit that replaces every `old`."""
    return lambda part: part.replace(old, new)

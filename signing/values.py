"""Computes what one signature says: the digests of its content and of its properties, its value (checks 10 to 13)."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

from signing import checks
from signing.form import Expected, Reading
from signing.xades import canonical

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # the form of before 2018, reported as such (5.4)
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def check_values(reading: Reading, *, has_comments: bool) -> None:
    """Compute what was read, and note what differs; nothing for a signature that was refused already."""
    content, properties = reading.of_content, reading.of_properties
    if reading.is_refused or reading.parent is None or reading.properties is None or not content or not properties:
        return
    if has_comments and not content.with_comments:
        _check_comments(reading, reading.parent)
    octets = canonical(reading.properties, with_comments=properties.with_comments)
    if not _is_digest_of(octets, properties):
        reading.say(checks.PROPERTIES, "Les propriétés signées ont été modifiées depuis la signature.")
    with _taken_out(reading.signature):
        octets = canonical(reading.parent, with_comments=content.with_comments)
    if not _is_digest_of(octets, content):
        reading.say(checks.CONTENT, "Le contenu signé a été modifié depuis la signature (empreinte différente).")
    if not _is_value_right(reading):
        reading.say(
            checks.VALUE,
            "La valeur de la signature n’est pas celle du certificat joint : elle a été altérée, ou faite avec une "
            "autre clé.",
        )


def _is_digest_of(octets: bytes, expected: Expected) -> bool:
    return hashlib.new(expected.digest, octets, usedforsecurity=False).digest() == expected.value


def _is_value_right(reading: Reading) -> bool:
    certificate, method = reading.known.certificate, reading.method
    if certificate is None or method is None:
        return False
    key, algorithm = certificate.public_key(), _HASHES[method.digest]
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(reading.value, reading.signed_info, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(_der_of(reading.value, key), reading.signed_info, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _der_of(value: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return as DER what XMLDSig (6.4.3) writes as two numbers, each as long as the curve's."""
    half = (key.key_size + 7) // 8
    if len(value) != 2 * half:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))


def _check_comments(reading: Reading, parent: etree._Element) -> None:
    """Say that a comment cuts a text in two: one program reads the whole, another only the beginning.

    A PES holds its values in attributes, so nothing that DGFiP reads can change that way: it is worth a warning.
    """
    for comment in parent.iter(etree.Comment):
        holder = comment.getparent()
        before = comment.getprevious()
        text = before.tail if before is not None else None if holder is None else holder.text
        if (text or "").strip() or (comment.tail or "").strip():
            reading.say(
                checks.COMMENT,
                f"Un commentaire coupe un texte signé (ligne {comment.sourceline}) : la signature ne le protège pas, "
                "il a pu être ajouté après elle.",
            )
            return


@contextmanager
def _taken_out(signature: etree._Element) -> Iterator[None]:
    """Take a signature out of its parent, as "enveloped" does: the text after it stays where it was."""
    parent, before, tail = signature.getparent(), signature.getprevious(), signature.tail
    if parent is None:
        raise ValueError("a signature without parent signs nothing")
    position = parent.index(signature)
    holder, name = (parent, "text") if before is None else (before, "tail")
    text = getattr(holder, name)
    parent.remove(signature)  # lxml takes the text after it away too
    if tail:
        setattr(holder, name, (text or "") + tail)
    try:
        yield
    finally:
        setattr(holder, name, text)
        signature.tail = tail
        parent.insert(position, signature)

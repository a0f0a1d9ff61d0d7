"""Opens attachments (PJ): the original bytes, compressed with gzip, then encoded in base64 (helios.md 2.6).

Nothing is believed: the decompression goes piece by piece and stops at a bound, so a gzip bomb costs no more than an
honest file of that size. Two libraries do what the standard library does too, several times faster: attachments are
most of what a flux weighs.
"""

import binascii
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import pybase64
from isal import isal_zlib

PIECE_BYTES = 256 * 1024
HEAD_BYTES = 512
_BLANKS = {ord(blank): None for blank in " \t\r\n"}
_END = re.compile(r"[A-Za-z0-9+/][AQgw]==$|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=$|[A-Za-z0-9+/]{4}$")

Fault = Literal["", "empty", "base64", "gzip", "truncated", "too-large"]

_GZIP = 31  # zlib's name for the gzip format, with its checksum
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"GIF8", "gif"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"{\\rtf", "rtf"),
)
# What each declared MIME type and each extension admit; what is not here admits anything.
_BY_MIME: dict[str, frozenset[str]] = {
    "application/pdf": frozenset({"pdf"}),
    "application/xml": frozenset({"xml", "text"}),
    "text/xml": frozenset({"xml", "text"}),
    "application/zip": frozenset({"zip"}),
    "image/jpeg": frozenset({"jpeg"}),
    "image/jpg": frozenset({"jpeg"}),
    "image/png": frozenset({"png"}),
    "image/tiff": frozenset({"tiff"}),
    "image/gif": frozenset({"gif"}),
}
_BY_EXTENSION: dict[str, frozenset[str]] = {
    "pdf": frozenset({"pdf"}),
    "xml": frozenset({"xml", "text"}),
    "zip": frozenset({"zip"}),
    "docx": frozenset({"zip"}),
    "xlsx": frozenset({"zip"}),
    "odt": frozenset({"zip"}),
    "ods": frozenset({"zip"}),
    "jpg": frozenset({"jpeg"}),
    "jpeg": frozenset({"jpeg"}),
    "png": frozenset({"png"}),
    "tif": frozenset({"tiff"}),
    "tiff": frozenset({"tiff"}),
    "gif": frozenset({"gif"}),
    "doc": frozenset({"ole"}),
    "xls": frozenset({"ole"}),
    "rtf": frozenset({"rtf"}),
}
KINDS = frozenset({kind for _, kind in _STARTS} | {"xml", "text", "unknown"})


class AttachmentError(ValueError):
    """This content cannot be opened; `fault` says why. Show the finding of the control, or refuse the request."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class Inspection(NamedTuple):
    """What an attachment turned out to be: its size once decompressed, in bytes, and its real kind.

    `is_base64` says that its text is what XML Schema calls base64Binary, whatever comes out of it; `encoded_bytes`
    how long that text is.
    """

    fault: Fault = ""
    size: int = 0
    kind: str = "unknown"
    is_base64: bool = False
    encoded_bytes: int = 0


@dataclass(frozen=True)
class Extracted:
    """What was handed out: its SHA-256 (hexadecimal), its size in bytes, and its real kind."""

    sha256: str
    size: int
    kind: str


def inspect(encoded: str | None, *, bytes_max: int) -> Inspection:
    """Open the content of a Fichier, keep nothing of it, and say what it is."""
    size = 0
    head = b""
    fault: Fault = ""
    try:
        for piece in _pieces(encoded, bytes_max):
            size += len(piece)
            head = head or piece[:HEAD_BYTES]
    except AttachmentError as error:
        fault = error.fault
    is_base64 = fault != "base64" and bool(encoded) and _ends_as_it_should(encoded or "")
    return Inspection(fault, size, kind_of(head), is_base64, len(encoded or ""))


def extract(encoded: str | None, write: Callable[[bytes], object], *, bytes_max: int) -> Extracted:
    """Open the content of a Fichier and hand it to `write`, piece by piece.

    Raises:
        AttachmentError: it cannot be opened to its end; what was written so far is to be thrown away.
    """
    digest = hashlib.sha256()
    size = 0
    head = b""
    for piece in _pieces(encoded, bytes_max):
        digest.update(piece)
        write(piece)
        size += len(piece)
        head = head or piece[:HEAD_BYTES]
    return Extracted(digest.hexdigest(), size, kind_of(head))


def kinds_for(mime: str, name: str) -> frozenset[str]:
    """Return the real kinds that a declared MIME type and a file's name admit together."""
    return _kinds(mime.split(";", maxsplit=1)[0].strip().lower(), name.rpartition(".")[2].lower())


def kind_of(head: bytes) -> str:
    """Return what the first bytes of a file say that it is."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "xml"
    return "text" if head and b"\x00" not in head else "unknown"


@lru_cache(maxsize=1024)
def _kinds(mime: str, extension: str) -> frozenset[str]:
    return _BY_MIME.get(mime, KINDS) & _BY_EXTENSION.get(extension, KINDS)


def _pieces(encoded: str | None, bytes_max: int) -> Iterator[bytes]:
    """Yield the content piece by piece, none of them empty; at most `bytes_max` bytes in all.

    Raises:
        AttachmentError: it cannot be opened to its end.
    """
    left = _decoded(encoded) if encoded else b""
    if not left:
        raise AttachmentError("empty")
    room = bytes_max
    while left:  # gzip allows several members, one behind the other
        member = isal_zlib.decompressobj(wbits=_GZIP)
        while not member.eof:
            try:
                piece = member.decompress(left, PIECE_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stubs do not say that it is one
                raise AttachmentError("gzip") from error
            left = member.unconsumed_tail
            room -= len(piece)
            if room < 0:
                raise AttachmentError("too-large")
            if piece:
                yield piece
            elif not left and not member.eof:
                raise AttachmentError("truncated")
        left = member.unused_data
    if room == bytes_max:
        raise AttachmentError("empty")


def _ends_as_it_should(encoded: str) -> bool:
    """Say whether the bits that padding leaves over are zero: XML Schema asks for that, decoders do not."""
    return _END.fullmatch(encoded[-4:]) is not None or _END.search(encoded[-200:].translate(_BLANKS)) is not None


def _decoded(encoded: str) -> bytes:
    """Decode base64, which may be broken by blanks of XML."""
    try:
        return pybase64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        pass  # lines, most often; anything else fails again below
    try:
        return pybase64.b64decode(encoded.translate(_BLANKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AttachmentError("base64") from error

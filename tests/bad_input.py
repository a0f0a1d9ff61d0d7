"""Bad files, made here: each is something that someone will send one day, by accident or to do harm."""

import gzip
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from pes.reading.xml import ALLER
from pes.sample import SampleSpec, build_sample

GOOD = build_sample(SampleSpec(number=1))
_LATIN = b'<?xml version="1.0" encoding="ISO-8859-1"?>'


@dataclass(frozen=True)
class BadFile:
    """A file, and the code of the finding that it must end with."""

    name: str
    content: bytes
    code: str


def gzip_bomb(*, megabytes: int) -> bytes:
    """Return a thousandth of what it holds: nothing but zeros."""
    packing = isal_zlib.compressobj(1, wbits=31)
    return b"".join([*(packing.compress(bytes(1_000_000)) for _ in range(megabytes)), packing.flush()])


def bad_files(port: int) -> Iterator[BadFile]:
    """Yield the files; those that try to reach the network try this port of this machine."""
    yield from _outside(port)
    yield from _too_much()
    yield from _inside_a_flux(port)
    yield from _encodings()
    yield from _broken()


def _outside(port: int) -> Iterator[BadFile]:
    """Files that point elsewhere: entities, external DTDs, inclusions."""
    address = f"http://127.0.0.1:{port}/x"
    for name, doctype in {
        "entity to a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        "entity to the network": f'<!DOCTYPE a [<!ENTITY x SYSTEM "{address}">]>',
        "parameter entity": f'<!DOCTYPE a [<!ENTITY % x SYSTEM "{address}"> %x;]>',
        "external DTD": f'<!DOCTYPE a SYSTEM "{address}">',
        "public DTD": f'<!DOCTYPE a PUBLIC "-//X//Y" "{address}">',
        "DOCTYPE after a comment": f'<!-- a --><!DOCTYPE a SYSTEM "{address}">',
        "DOCTYPE in small letters": f'<!doctype a SYSTEM "{address}">',
    }.items():
        yield BadFile(name, _LATIN + f"{doctype}<a>&x;</a>".encode(), "reader.doctype")
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{address}"/>'.encode()
    yield BadFile("XInclude as the root", _LATIN + include, "pes.root")
    schema = f'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="{ALLER} {address}"'
    yield BadFile("schemaLocation", _LATIN + f'<n:PES_Aller xmlns:n="{ALLER}" {schema}/>'.encode(), "pes.empty")
    style = f'<?xml-stylesheet href="{address}"?>'.encode()
    yield BadFile("stylesheet", _LATIN + style + b"<a/>", "pes.root")


def _too_much() -> Iterator[BadFile]:
    """Files that would cost without end, if they were read as they ask to be."""
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY a0 "x">{levels}]><a>&a11;</a>'
    yield BadFile("entities that multiply", _LATIN + bomb.encode(), "reader.doctype")
    depth = 100_000
    yield BadFile("deep nesting", _LATIN + b"<a>" * depth + b"</a>" * depth, "reader.malformed")
    attributes = " ".join(f'a{number}="v"' for number in range(100_000))
    yield BadFile("100,000 attributes", _LATIN + f"<a {attributes}/>".encode(), "pes.root")
    yield BadFile("a text of 20 MB", _LATIN + b"<a>" + b"x" * 20_000_000 + b"</a>", "pes.root")
    yield BadFile("a name of 2 MB", _LATIN + b"<" + b"a" * 2_000_000 + b"/>", "pes.root")
    declaration = b'<?xml version="1.0" encoding="' + b"X" * 100_000 + b'"?>'
    padded = (
        b'<?xml version="1.0"'
        + b" " * 300
        + b'encoding="UTF-7"?><!-- +AC0ALQA+- <!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'
    )
    yield BadFile("a declaration that hides its encoding", padded, "reader.malformed")
    yield BadFile("a long declaration", declaration + b"<a/>", "reader.malformed")


def _inside_a_flux(port: int) -> Iterator[BadFile]:
    """Files that are a flux as far as one looks, and hostile further down."""
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="http://127.0.0.1:{port}/x"/>'
    yield BadFile("XInclude in a pièce", _before("</Piece>", include), "schema.unexpected-element")
    yield BadFile(
        "deep nesting in a pièce", _before("</Piece>", "<a>" * 2000 + "</a>" * 2000), "schema.unexpected-element"
    )
    yield BadFile("deeper nesting", _before("</Piece>", "<a>" * 100_000 + "</a>" * 100_000), "reader.malformed")
    attributes = " ".join(f'a{number}="v"' for number in range(100_000))
    yield BadFile(
        "100,000 attributes on a pièce", _before("</Piece>", f"<a {attributes}/>"), "schema.unexpected-element"
    )
    yield BadFile("a value of 10 MB", _changed('(?<=<Obj V=")[^"]*', "x" * 10_000_000), "schema.too-long")
    yield BadFile("a text of 10 MB", _before("</Piece>", "x" * 10_000_000), "schema.text")
    yield BadFile("an Id of 10 MB", _changed('(?<=<Bordereau Id=")[^"]*', "x" * 10_000_000), "pes.id-too-long")
    yield BadFile("the same Id twice", _changed('(?<=<Bordereau Id=")[^"]*', _root_id()), "pes.duplicate-id")
    yield BadFile("an amount of 10 MB", _changed('(?<=<MtHT V=")[^"]*', "9" * 10_000_000), "schema.value")
    bomb = b64encode(gzip_bomb(megabytes=2000)).decode()
    yield BadFile("a gzip bomb", _changed(r'(?<="application/pdf">)[^<]*', bomb), "pj.unreadable")
    nested = b64encode(gzip.compress(gzip_bomb(megabytes=100))).decode()
    yield BadFile(
        "gzip in gzip",
        _changed(r"<PJ>.*</PJ>", f"<PJ><Contenu><Fichier>{nested}</Fichier></Contenu></PJ>"),
        "schema.missing-attribute",
    )
    many = "".join(
        f'<Piece><BlocPiece><InfoPce><IdPce V="{n // 2}"/></InfoPce></BlocPiece></Piece>' for n in range(10_000)
    )
    yield BadFile("10,000 pièces, each number twice", _before("</Bordereau>", many), "piece.duplicate")
    bordereaux = "".join(f'<Bordereau Id="B{n // 2}"/>' for n in range(10_000))
    yield BadFile("10,000 bordereaux, each Id twice", _before("</PES_DepenseAller>", bordereaux), "pes.duplicate-id")
    attachments = "".join(f'<PJ><IdUnique V="X{n // 2}"/><NomPJ V="x"/><TypePJ V="012"/></PJ>' for n in range(10_000))
    yield BadFile("10,000 attachments, each twice", _before("</PES_PJ>", attachments), "pj.duplicate")
    tiers = "".join(
        f'<LigneDePiece><Tiers><InfoTiers><IdTiers V="{n}"/><NatIdTiers V="01"/></InfoTiers></Tiers></LigneDePiece>'
        for n in range(10_000)
    )
    yield BadFile("10,000 tiers, each wrong", _before("</Piece>", tiers), "tiers.identifier")
    references = "".join(f'<PJRef><Support V="01"/><IdUnique V="Y{n}"/></PJRef>' for n in range(10_000))
    yield BadFile(
        "10,000 references to nothing", _before("</InfoPce>", references + "<x/>"), "schema.unexpected-element"
    )


def _before(markup: str, inserted: str) -> bytes:
    text = GOOD.decode("latin-1")
    assert markup in text
    return text.replace(markup, inserted + markup, 1).encode("latin-1")


def _changed(pattern: str, value: str) -> bytes:
    text, count = re.subn(pattern, lambda _: value, GOOD.decode("latin-1"), count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return text.encode("latin-1")


def _root_id() -> str:
    found = re.search(r'PES_Aller[^>]* Id="([^"]*)"', GOOD.decode("latin-1"))
    assert found is not None
    return found.group(1)


def _encodings() -> Iterator[BadFile]:
    """Files whose bytes are not what they say."""
    text = GOOD.decode("latin-1")
    utf8 = text.replace('encoding="ISO-8859-1"', 'encoding="UTF-8"')
    yield BadFile("UTF-8, announced", utf8.encode("utf-8"), "pes.encoding")
    yield BadFile("UTF-8 with a BOM", b"\xef\xbb\xbf" + utf8.encode("utf-8"), "pes.encoding")
    yield BadFile("bytes that are not the UTF-8 announced", utf8.encode("latin-1"), "reader.malformed")
    yield BadFile("UTF-16", text.replace("ISO-8859-1", "UTF-16").encode("utf-16"), "reader.encoding")
    yield BadFile("UTF-16 without a BOM", text.encode("utf-16-le"), "reader.encoding")
    yield BadFile("UTF-32", text.encode("utf-32"), "reader.encoding")
    yield BadFile("UTF-7", text.replace("ISO-8859-1", "UTF-7").encode("latin-1"), "reader.encoding")
    yield BadFile("EBCDIC", text.replace("ISO-8859-1", "IBM037").encode("latin-1"), "reader.encoding")
    yield BadFile("an encoding that does not exist", GOOD.replace(b"ISO-8859-1", b"KLINGON"), "reader.encoding")
    yield BadFile("no declaration, letters beyond ASCII", GOOD.split(b"?>", 1)[1], "reader.malformed")


def _broken() -> Iterator[BadFile]:
    """Files that are cut, or something else altogether."""
    for percent in range(1, 100):
        length = len(GOOD) * percent // 100
        yield BadFile(f"cut at {percent} %", GOOD[:length], "reader.malformed")
    yield BadFile("nothing", b"", "reader.empty")
    yield BadFile("blanks", b" \r\n", "reader.empty")
    yield BadFile("a PDF", b"%PDF-1.7\n", "reader.not-xml")
    yield BadFile("a ZIP", b"PK\x03\x04", "reader.not-xml")
    yield BadFile("a NUL inside", GOOD.replace(b"<Enveloppe>", b"<Enveloppe>\x00", 1), "reader.malformed")
    yield BadFile("two documents", GOOD + GOOD, "reader.malformed")
    yield BadFile("something behind the end", GOOD + b"and more", "reader.malformed")
    yield BadFile("another root", _LATIN + b"<facture/>", "pes.root")
    yield BadFile("another namespace", GOOD.replace(ALLER.encode(), b"urn:other"), "pes.root")
    yield BadFile("only an envelope", _LATIN + f'<n:PES_Aller xmlns:n="{ALLER}"/>'.encode(), "pes.empty")

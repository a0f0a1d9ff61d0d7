"""Attachments: opened in bounded memory, whatever they hold, and told apart by what they are."""

import gzip
import os
import textwrap
import tracemalloc
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pes.reading.attachments import AttachmentError, extract, inspect, kinds_for
from tests.bad_input import gzip_bomb

PDF = b"%PDF-1.7 " + os.urandom(3000)
BYTES_MAX = 1_000_000


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # a test is called the same at any time


def packed(content: bytes) -> str:
    return encoded(gzipped(content))


@given(st.binary(min_size=1, max_size=5000))
def test_what_was_packed_comes_out_again(content: bytes) -> None:
    pieces: list[bytes] = []
    taken = extract(packed(content), pieces.append, bytes_max=BYTES_MAX)
    assert b"".join(pieces) == content
    assert taken.size == len(content)
    assert inspect(packed(content), bytes_max=BYTES_MAX).fault == ""


def test_base64_may_be_broken_into_lines() -> None:
    lines = "\n".join(textwrap.wrap(packed(PDF), 76))
    assert inspect(f"\n{lines}\n", bytes_max=BYTES_MAX).kind == "pdf"


def test_several_members_are_one_file() -> None:
    content = gzipped(PDF) + gzipped(b"more")
    assert inspect(encoded(content), bytes_max=BYTES_MAX).size == len(PDF) + 4


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n ", "empty"),
        (packed(b""), "empty"),
        ("not base64!", "base64"),
        ("é", "base64"),
        ("QUJ", "base64"),
        (encoded(PDF), "gzip"),
        (encoded(zlib.compress(PDF)), "gzip"),
        (encoded(gzipped(PDF)[:-1]), "truncated"),
        (encoded(gzipped(PDF)[:20]), "truncated"),
        (packed(bytes(BYTES_MAX + 1)), "too-large"),
    ],
)
def test_what_cannot_be_opened_is_told(text: str | None, fault: str) -> None:
    assert inspect(text, bytes_max=BYTES_MAX).fault == fault
    with pytest.raises(AttachmentError) as caught:
        extract(text, lambda _: None, bytes_max=BYTES_MAX)
    assert caught.value.fault == fault


def test_a_damaged_content_is_told() -> None:
    content = bytearray(gzipped(PDF))
    content[-5] ^= 1  # in the checksum
    assert inspect(encoded(bytes(content)), bytes_max=BYTES_MAX).fault == "gzip"


@given(st.binary(max_size=300))
def test_any_bytes_are_opened_or_told(content: bytes) -> None:
    assert inspect(encoded(b"\x1f\x8b\x08" + content), bytes_max=BYTES_MAX) is not None


def test_a_bomb_costs_no_more_than_its_bound() -> None:
    text = encoded(gzip_bomb(megabytes=2000))
    tracemalloc.start()
    try:
        found = inspect(text, bytes_max=50_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.fault == "too-large"
    assert found.size <= 50_000_000
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PDF, "pdf"),
        (b"PK\x03\x04...", "zip"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"II*\x00", "tiff"),
        (b"GIF89a", "gif"),
        (b"  \n<?xml version='1.0'?>", "xml"),
        (b"\xef\xbb\xbf<a/>", "xml"),
        (b"Bonjour", "text"),
        (b"\x00\x01\x02", "unknown"),
    ],
)
def test_the_first_bytes_say_what_a_file_is(content: bytes, kind: str) -> None:
    assert inspect(packed(content), bytes_max=BYTES_MAX).kind == kind


@pytest.mark.parametrize(
    ("mime", "name", "kind", "is_admitted"),
    [
        ("application/pdf", "a.pdf", "pdf", True),
        ("application/pdf", "a.PDF", "zip", False),
        ("application/pdf", "a.xml", "pdf", False),
        ("Application/PDF; charset=x", "a.pdf", "pdf", True),
        ("application/octet-stream", "a.docx", "zip", True),
        ("application/x-unknown", "a.zzz", "unknown", True),
        ("text/xml", "a.xml", "xml", True),
    ],
)
def test_a_mime_type_and_a_name_admit_some_kinds(mime: str, name: str, kind: str, is_admitted: bool) -> None:
    assert (kind in kinds_for(mime, name)) is is_admitted

"""Schema packs: what is read from folders and archives, and what is refused; nothing outside is ever reached."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pes.reading.xml import ALLER
from pes.schemas.packs import (
    BUILT_IN,
    FILE_BYTES_MAX,
    PES_ALLER,
    ROOTS,
    PackError,
    PackFiles,
    built_in,
    compile_pack,
    read_archive,
    read_pack,
)

GOOD = built_in()


def archive_of(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return into.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def schema(inside: str, doctype: str = "") -> PackFiles:
    """Return a pack of one file that declares PES_Aller."""
    text = (
        f'<?xml version="1.0"?>{doctype}<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:n="{ALLER}" '
        f'targetNamespace="{ALLER}">{inside}<xs:element name="PES_Aller" type="xs:string"/></xs:schema>'
    )
    return PackFiles("x", {"aller.xsd": text.encode()})


def test_the_pack_that_comes_with_the_platform_judges_every_document_of_pes_v2() -> None:
    assert compile_pack(GOOD).roots == ROOTS
    assert GOOD.pack_id == BUILT_IN


def test_a_pack_is_the_same_from_a_folder_and_from_an_archive_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "pes-5.12" / "PES_V2"
    folder.mkdir(parents=True)
    for path, content in GOOD.files.items():
        (folder / path).write_bytes(content)
    (folder / "readme.txt").write_text("not a schema")
    from_folder = read_pack(tmp_path / "pes-5.12")
    (tmp_path / "pes-5.12.zip").write_bytes(from_folder.archive())
    from_archive = read_pack(tmp_path / "pes-5.12.zip")
    assert from_folder == from_archive
    assert (from_folder.pack_id, from_folder.digest) == ("pes-5.12", from_archive.digest)
    assert from_folder.digest != GOOD.digest
    assert compile_pack(from_folder).roots == ROOTS


def test_the_digest_follows_from_paths_and_contents() -> None:
    other = PackFiles("other", dict(GOOD.files))
    assert other.digest == GOOD.digest
    assert PackFiles("x", {"a.xsd": b"1"}).digest != PackFiles("x", {"b.xsd": b"1"}).digest
    assert PackFiles("x", {"a.xsd": b"1"}).digest != PackFiles("x", {"a.xsd": b"2"}).digest


@pytest.mark.parametrize(
    "content",
    [
        archive_of(("../evil.xsd", b"<x/>")),
        archive_of(("a/../../evil.xsd", b"<x/>")),
        archive_of(("/etc/evil.xsd", b"<x/>")),
        archive_of(("C:\\evil.xsd", b"<x/>")),
        archive_of(("a\\..\\..\\evil.xsd", b"<x/>")),
        archive_of((link("aller.xsd"), b"/etc/passwd")),
        archive_of((link("folder"), b"/etc")),
        archive_of(("a.xsd", b"\0" * (FILE_BYTES_MAX + 1))),
        archive_of(*((f"{number}.xsd", b"<x/>") for number in range(600))),
        archive_of(*((f"{number}", b"") for number in range(6000))),
        archive_of(*((f"{number}.xsd", b" " * FILE_BYTES_MAX) for number in range(9))),
        archive_of(("readme.txt", b"nothing")),
        archive_of(("a\nb.xsd", b"<x/>")),
        archive_of(),
        b"PK\x03\x04" + b"\xff" * 100,
        b"",
    ],
    ids=[
        *("parent", "parent inside", "absolute", "drive", "backslashes", "link", "link to a folder", "bomb"),
        *(
            "too many schemas",
            "too many entries",
            "too much",
            "no schema",
            "unprintable",
            "empty",
            "stump",
            "nothing",
        ),
    ],
)
def test_a_hostile_archive_is_refused(content: bytes) -> None:
    with pytest.raises(PackError):
        read_archive(content, "x")


def test_an_archive_compressed_in_an_unusual_way_is_refused() -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.xsd", b"<x/>" * 100)
    with pytest.raises(PackError):
        read_archive(into.getvalue(), "x")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_twice_in_an_archive_is_refused() -> None:
    with pytest.raises(PackError, match="deux fois"):
        read_archive(archive_of(("a.xsd", b"<x/>"), ("a.xsd", b"<y/>")), "x")


@given(st.binary(max_size=200), st.integers(0, 60_000))
def test_an_archive_damaged_anywhere_is_read_or_refused(damage: bytes, place: int) -> None:
    archive = bytearray(GOOD.archive())
    archive[place : place + len(damage)] = damage
    try:
        read_archive(bytes(archive), "x")
    except PackError as error:
        assert str(error)  # noqa: PT017  # any other exception fails the test


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aller.xsd").symlink_to("/etc/passwd")
    with pytest.raises(PackError, match="lien"):
        read_pack(tmp_path)


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "/etc/passwd", "../../../../../../etc/passwd", "http://127.0.0.1:1/x.xsd", "absent.xsd"],
)
def test_a_schema_that_points_out_of_its_pack_does_not_compile(location: str) -> None:
    pack = schema(f'<xs:include schemaLocation="{location}"/>')
    with pytest.raises(PackError):
        compile_pack(pack)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1:1/x"> %a;]>',
    ],
)
def test_a_schema_with_an_external_entity_is_refused(doctype: str) -> None:
    with pytest.raises(PackError):
        compile_pack(schema("", doctype))


def test_a_schema_whose_entities_multiply_is_refused() -> None:
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "x">{levels}]>'
    with pytest.raises(PackError):
        compile_pack(schema("<xs:annotation><xs:documentation>&a11;</xs:documentation></xs:annotation>", bomb))


@pytest.mark.parametrize("content", [b"<x/>", b"not xml", b"", b"<xs:schema xmlns:xs='urn:other'/>"])
def test_a_file_that_is_no_schema_is_refused(content: bytes) -> None:
    with pytest.raises(PackError):
        compile_pack(PackFiles("x", {"aller.xsd": content}))


def test_a_pack_that_cannot_judge_a_pes_aller_is_refused() -> None:
    without = {path: content for path, content in GOOD.files.items() if path != "aller.xsd"}
    with pytest.raises(PackError, match="PES_Aller"):
        compile_pack(PackFiles("x", without))


def test_a_root_that_a_pack_does_not_know_has_no_schema() -> None:
    compiled = compile_pack(schema(""))
    assert compiled.roots == (PES_ALLER,)
    assert compiled.schema(ROOTS[1]) is None

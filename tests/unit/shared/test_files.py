"""Files that are there whole, or not at all."""

import os
import stat
from pathlib import Path

import pytest

from shared.runtime.files import write_whole


def test_what_was_there_is_replaced_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"before, and longer")
    write_whole(tmp_path / "a.xml", b"after")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.xml": b"after"}


def test_a_key_is_never_readable_by_others(tmp_path: Path) -> None:
    write_whole(tmp_path / "key", b"secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_what_an_interrupted_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".key.{os.getpid()}.partial").write_bytes(b"half")
    write_whole(tmp_path / "key", b"whole", mode=0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.xml").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.xml", b"after")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.xml": b"before"}


def test_the_file_is_on_the_disk_before_its_name_and_the_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []

    def note(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "a.xml").exists()))

    monkeypatch.setattr(os, "fsync", note)
    write_whole(tmp_path / "a.xml", b"after")
    assert synced == [(False, False), (True, True)]

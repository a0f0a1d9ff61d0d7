"""What is a reply in DGFiP's reply directory: one rule, for who collects replies and for who waits for them."""

import asyncssh
import pytest

from shared.runtime.sftp import is_reply

NAME = "034990_260202120000-ACK-1.xml"


def entry(kind: int = asyncssh.FILEXFER_TYPE_REGULAR) -> asyncssh.SFTPAttrs:
    return asyncssh.SFTPAttrs(type=kind)


@pytest.mark.parametrize("name", [NAME, "odd.bin", "r\udce9ponse.xml", "sans-extension"])
def test_a_file_is_a_reply_whatever_its_name_says(name: str) -> None:
    assert is_reply(name, entry())


def test_what_the_server_does_not_say_the_kind_of_may_be_a_reply() -> None:
    assert is_reply(NAME, entry(asyncssh.FILEXFER_TYPE_UNKNOWN))


@pytest.mark.parametrize(
    "kind",
    [asyncssh.FILEXFER_TYPE_DIRECTORY, asyncssh.FILEXFER_TYPE_SYMLINK, asyncssh.FILEXFER_TYPE_SPECIAL],
    ids=["directory", "link", "special"],
)
def test_what_is_no_file_is_no_reply(kind: int) -> None:
    assert not is_reply(NAME, entry(kind))


@pytest.mark.parametrize("name", [".", "..", ".part", "PESALR1_034990.xml", "../034990.xml", "a/b"])
def test_temporary_files_ours_and_paths_are_no_replies(name: str) -> None:
    assert not is_reply(name, entry())

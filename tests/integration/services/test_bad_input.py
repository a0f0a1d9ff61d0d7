"""Bad files: whatever comes ends as a finding, and nothing is reached or read beyond the bytes that came."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pes.reading.xml import UnreadableError, read
from tests.bad_input import GOOD, BadFile, bad_files
from tests.judging import codes, judged
from tests.unit.pes.test_judge import assert_a_person_can_act


@pytest.fixture(scope="module")
def mute() -> Iterator[socket.socket]:
    """A port that nobody should ever connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.mark.parametrize("bad", list(bad_files(1)), ids=lambda bad: bad.name)
def test_every_bad_file_ends_as_a_finding(bad: BadFile, mute: socket.socket) -> None:
    port = str(mute.getsockname()[1]).encode()
    judgement = judged(bad.content.replace(b"127.0.0.1:1/", b"127.0.0.1:" + port + b"/"))
    assert bad.code in codes(judgement)
    assert judgement.verdict == ("unreadable" if bad.code.startswith("reader.") else "invalid")
    assert nobody_was_called(mute)
    assert_a_person_can_act(judgement.findings[0])
    assert "root:" not in repr(judgement)
    assert len(judgement.findings) < 20_000
    assert len(repr(judgement.findings[:20])) < 50_000


def test_some_bad_files_would_have_us_call_someone() -> None:
    assert sum(b"127.0.0.1:1/" in bad.content for bad in bad_files(1)) == 10


def nobody_was_called(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


@given(st.binary(max_size=400))
def test_any_bytes_are_judged_without_an_exception(content: bytes) -> None:
    assert judged(content).findings


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4))
def test_a_good_file_changed_anywhere_is_judged_without_an_exception(place: int, change: bytes) -> None:
    for finding in judged(GOOD[:place] + change + GOOD[place + len(change) :]).findings:
        assert_a_person_can_act(finding)


PIECES = st.sampled_from(
    [
        *(b"<", b">", b"/", b"&", b"<a", b"</a>", b'"', b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml ", b"?>"),
        *(b"<!DOCTYPE a", b' encoding="UTF-16"', b"\x00", b"\xff\xfe", b"&#0;", b"&amp;", b"PES_Aller"),
        *(b" xmlns='x'", b" V='1'", b"<Bordereau>", b"<PJ>", b"<Contenu><Fichier>", b"</Fichier></Contenu>"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_markup_of_any_shape_is_read_or_refused(content: bytes) -> None:
    try:
        read(b"<?xml version='1.0'?>" + content)
    except UnreadableError as error:
        assert error.code  # noqa: PT017  # any other exception fails the test


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 200), st.lists(PIECES, min_size=1, max_size=4).map(b"".join))
def test_markup_thrown_into_a_good_file_is_judged_without_an_exception(place: int, markup: bytes) -> None:
    tags = GOOD.split(b"<")
    at = place % len(tags)
    for finding in judged(b"<".join(tags[:at]) + b"<" + markup + b"<".join(tags[at:])).findings:
        assert_a_person_can_act(finding)

"""The antivirus: the stand-in and the real clamd give the same answers, and what is no answer is never "clean"."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.validation.adapters.clamd import Clamd, verdict_of
from shared.errors import UnavailableError
from tests.fakes.clamd import MARK, NAME, FakeClamd, Mood, fake_clamd
from tests.real.clamd import real_clamd

MEBIBYTE = 1024 * 1024


async def pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.clamd)])
async def clamd(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Clamd]:
    async with AsyncExitStack() as stack:
        if request.param == "real":
            address = stack.enter_context(real_clamd(tmp_path))
        else:
            address = (await stack.enter_async_context(fake_clamd(tmp_path / "clamd.ctl"))).address
        yield Clamd(address, seconds_max=30)


async def test_it_answers_a_ping(clamd: Clamd) -> None:
    await clamd.check()


@pytest.mark.parametrize("content", [b"<PES_Aller/>", b"", b"x" * 3 * MEBIBYTE], ids=["small", "empty", "3 MiB"])
async def test_what_is_clean_is_clean(clamd: Clamd, content: bytes) -> None:
    assert await clamd.scan(pieces(content)) is None


async def test_what_is_found_has_a_name(clamd: Clamd) -> None:
    assert await clamd.scan(pieces(b"<a>" + MARK + b"</a>")) == NAME


async def test_a_virus_at_the_very_end_of_a_large_stream_is_found(clamd: Clamd) -> None:
    assert await clamd.scan(pieces(b"<a>" * 6 * MEBIBYTE + MARK)) == NAME


async def test_a_stream_over_its_limit_is_not_clean_and_says_what_to_change(clamd: Clamd) -> None:
    with pytest.raises(UnavailableError, match="StreamMaxLength"):
        await clamd.scan(pieces(b"x" * 30 * MEBIBYTE))


async def test_many_questions_at_once_are_answered(clamd: Clamd) -> None:
    contents = [MARK if number % 2 else b"x" for number in range(20)]
    answers = await asyncio.gather(*(clamd.scan(pieces(content)) for content in contents))
    assert answers == [NAME if content == MARK else None for content in contents]


@pytest.mark.parametrize("mood", ["mute", "cut", "cut short", "hasty", "rubbish", "error"])
async def test_what_is_no_answer_is_never_clean(tmp_path: Path, mood: Mood) -> None:
    async with fake_clamd(tmp_path / "clamd.ctl") as fake:
        fake.mood = mood
        asked = Clamd(fake.address, seconds_max=0.5)
        with pytest.raises(UnavailableError) as caught:
            await asked.scan(pieces(b"x" * 20 * MEBIBYTE))
        assert caught.value.party == "clamd"
        with pytest.raises(UnavailableError):
            await asked.check()


@pytest.mark.parametrize("address", ["unix:///nowhere/clamd.ctl", "tcp://127.0.0.1:1"])
async def test_a_clamd_that_is_away_is_unavailable(address: str) -> None:
    with pytest.raises(UnavailableError):
        await Clamd(address, seconds_max=1).scan(pieces(b"x"))


async def test_a_question_that_is_given_up_leaves_no_connection(tmp_path: Path) -> None:
    async with fake_clamd(tmp_path / "clamd.ctl") as fake:
        fake.mood = "mute"
        task = asyncio.create_task(Clamd(fake.address, seconds_max=60).scan(pieces(b"x")))
        while not fake_has_heard(fake, task):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            while fake.writers:
                await asyncio.sleep(0.001)


def fake_has_heard(fake: FakeClamd, task: asyncio.Task[str | None]) -> bool:
    return fake.path.exists() and not task.done() and len(asyncio.all_tasks()) > 2


def test_a_hostile_name_is_made_printable_and_short() -> None:
    assert verdict_of("stream: a\x1b[2Jb FOUND") == "a?[2Jb"
    assert len(verdict_of(f"stream: {'x' * 1000} FOUND") or "") == 200

"""Worker processes: lost, stopped, bounded."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pes.tasks import JudgeTask, judge_file
from shared.errors import MalformedMessageError
from shared.facts.lifecycles.flux import State, fold
from shared.runtime.workers import Pool, TooCostlyError, WorkerLostError
from tests.bad_input import BadFile, bad_files
from tests.callers import COMMUNE
from tests.integration.services.validation.bench import MEBIBYTE, Bench, codes
from tests.judging import changed_sample, replacing
from tests.real.platform import sample


def die(_: object) -> None:
    os.kill(os.getpid(), 9)


def sleep_for_ever(_: object) -> None:
    while True:
        pass


def fail(_: object) -> None:
    raise ValueError("a bug")


def eat_memory(_: object) -> bytes:
    return bytes(4096 * MEBIBYTE)


def answer(order: int) -> int:
    return order + 1


@pytest.mark.parametrize("do", [die, sleep_for_ever, fail, eat_memory])
async def test_a_worker_that_is_lost_is_replaced_and_nobody_else_notices(do: object) -> None:
    pool = Pool(2, seconds_max=10, memory_bytes_max=1024 * MEBIBYTE)  # longer than a new worker takes to begin
    try:
        results = await asyncio.gather(
            pool.run(do, None),  # type: ignore[arg-type]  # each of them takes anything
            *(pool.run(answer, number) for number in range(6)),
            return_exceptions=True,
        )
        assert isinstance(results[0], WorkerLostError)
        assert results[1:] == [1, 2, 3, 4, 5, 6]
    finally:
        await pool.aclose()


async def test_workers_that_the_system_killed_while_they_did_nothing_are_no_order_s_fault() -> None:
    pool = Pool(2, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)
    try:
        for worker in pool._workers:
            worker.process.kill()
            worker.process.join()
        assert await asyncio.gather(*(pool.run(answer, number) for number in range(4))) == [1, 2, 3, 4]
    finally:
        await pool.aclose()


async def test_a_worker_has_nothing_of_the_service_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "secret")
    pool = Pool(1, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)
    try:
        assert await pool.run(os.getenv, "DATABASE_URL") is None
    finally:
        await pool.aclose()


@pytest.mark.parametrize("do", [sleep_for_ever, eat_memory])
async def test_a_file_that_costs_too_much_is_refused_at_once_with_a_finding(bench: Bench, do: object) -> None:
    small = Pool(1, seconds_max=10, memory_bytes_max=1024 * MEBIBYTE)

    class Costly:
        tries = 0

        async def run(self, _: object, order: object) -> object:
            self.tries += 1
            return await small.run(do, order)  # type: ignore[arg-type]  # each of them takes anything

    costly = Costly()
    try:
        bench.judges = replace(bench.judges, workers=costly)  # type: ignore[arg-type]  # it answers nothing
        _, fact = await bench.judged(sample(1))
    finally:
        await small.aclose()
    assert codes(fact) == {"reader.too-costly"}
    assert costly.tries == 1


async def test_a_file_for_which_there_is_not_enough_memory_is_not_called_malformed(tmp_path: Path) -> None:
    path = tmp_path / "dense.xml"
    path.write_bytes(changed_sample(replacing("(?=<LigneDePiece>)", "<a/>" * 8_000_000)))
    small = Pool(1, seconds_max=60, memory_bytes_max=512 * MEBIBYTE)
    try:
        with pytest.raises(TooCostlyError):
            await small.run(judge_file, JudgeTask(path, COMMUNE, datetime.now(UTC).date()))
    finally:
        await small.aclose()


async def test_an_order_that_is_given_up_leaves_no_worker_behind() -> None:
    pool = Pool(1, seconds_max=60, memory_bytes_max=1024 * MEBIBYTE)
    try:
        task = asyncio.create_task(pool.run(sleep_for_ever, None))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pool.run(answer, 1) == 2
    finally:
        await pool.aclose()


async def test_every_bad_file_is_judged_by_a_worker_within_its_bounds(tmp_path: Path) -> None:
    pool = Pool(2, seconds_max=30, memory_bytes_max=1024 * MEBIBYTE)

    async def judged(number: int, bad: BadFile) -> str:
        path = tmp_path / f"{number}.xml"
        path.write_bytes(bad.content)
        answered = await pool.run(judge_file, JudgeTask(path, COMMUNE, datetime.now(UTC).date()))
        assert bad.code in {finding.code for finding in answered.judgement.findings}, bad.name
        return answered.judgement.verdict

    try:
        verdicts = await asyncio.gather(*(judged(*one) for one in enumerate(bad_files(1))))
        assert set(verdicts) == {"invalid", "unreadable"}
    finally:
        await pool.aclose()


class Deadly:
    """Workers that die of every file."""

    def __init__(self) -> None:
        self.tries = 0

    async def run(self, *_: object) -> object:
        self.tries += 1
        raise WorkerLostError("killed")


async def test_a_file_that_kills_two_workers_is_parked_and_the_flux_stays_as_it_is(bench: Bench) -> None:
    deadly = Deadly()
    bench.judges = replace(bench.judges, workers=deadly)  # type: ignore[arg-type]  # it answers nothing
    event = await bench.imported(sample(1))
    with pytest.raises(MalformedMessageError):
        await bench.hear(event)
    assert deadly.tries == 2
    assert fold([event.data]).state is State.IMPORTED
    assert len(await bench.history.load(event.flux_id)) == 1
    assert bench.scratch_files() == []

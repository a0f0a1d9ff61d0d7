"""How fast files are judged beside bare lxml, what two workers bring, how much memory a large file takes."""

import asyncio
import resource
import time
from datetime import date
from pathlib import Path

from lxml import etree

from pes.judge import Rules, judge
from pes.reading.xml import safe_parser
from pes.sample import SampleSpec, build_sample
from pes.schemas.packs import PES_ALLER, CompiledPack, built_in
from pes.tasks import JudgeTask, judge_file
from shared.runtime.workers import Pool
from tests.bench.figures import Figure, medians

MEBIBYTE = 1024 * 1024
TODAY = date(2026, 11, 24)
ROUNDS = 15
FILES = 60
LAG_LOOK_SECONDS = 0.002
# Flux as they come: pièces with lignes, and attachments that weigh more than everything else.
SMALL = SampleSpec(pieces_per_bordereau=10, pj_per_piece=1, pj_bytes=4_500)
BARE = SampleSpec(pieces_per_bordereau=85, pj_per_piece=0)
LARGE = SampleSpec(
    depense_bordereaux=3, recette_bordereaux=1, pieces_per_bordereau=60, pj_per_piece=1, pj_bytes=4_500
)
HUGE = SampleSpec(pieces_per_bordereau=12, pj_per_piece=1, pj_bytes=8_380_000)


def measure_validation(folder: Path) -> list[Figure]:
    """Judge files of three sizes, alone and several at a time."""
    figures = [
        _speed(spec, name) for name, spec in (("small", SMALL), ("without attachments", BARE), ("large", LARGE))
    ]
    figures += asyncio.run(_workers(folder))
    return [*figures, asyncio.run(_memory(folder))]


def _speed(spec: SampleSpec, name: str) -> Figure:
    document = build_sample(spec)
    pack = CompiledPack(built_in())
    rules = Rules(packs=(pack,))
    schema = pack.schema(PES_ALLER)
    if schema is None or judge(document, rules, today=TODAY).findings:
        raise RuntimeError("a benchmark's flux is not valid")
    known = schema
    bare, full = medians(
        lambda: known.validate(etree.fromstring(document, safe_parser())),
        lambda: judge(document, rules, today=TODAY),
        times=max(2, 2_000_000 // len(document)),
        rounds=ROUNDS,
    )
    return Figure(
        name=f"validation: files judged per second, {name} ({len(document) / 1000:,.0f} kB)",
        value=1 / full,
        unit="files/s",
        goal="≥ 0.6 × the reference",
        is_met=bare / full >= 0.6,
        reference=1 / bare,
        reference_name="bare lxml parse and XSD",
    )


async def _workers(folder: Path) -> list[Figure]:
    path = folder / "large.xml"
    path.write_bytes(build_sample(LARGE))
    one, _ = await _throughput(path, 1)
    two, lag = await _throughput(path, 2)
    return [
        Figure(
            name="validation: files judged per second, two workers",
            value=two,
            unit="files/s",
            goal="≥ 1.8 × the reference",
            is_met=two / one >= 1.8,
            reference=one,
            reference_name="one worker",
        ),
        Figure(
            name="validation: longest stop of the event loop meanwhile",
            value=lag * 1000,
            unit="ms",
            goal="≤ 50",
            is_met=lag <= 0.05,
        ),
    ]


async def _throughput(path: Path, workers: int) -> tuple[float, float]:
    """Return the files judged per second by some workers, and the longest stop of the loop, in seconds."""
    pool = Pool(workers, seconds_max=60, memory_bytes_max=2048 * MEBIBYTE)
    order = JudgeTask(path, "", TODAY)
    try:
        await asyncio.gather(*(pool.run(judge_file, order) for _ in range(4 * workers)))  # warm
        looking = asyncio.create_task(_longest_stop())
        began = time.perf_counter()
        await asyncio.gather(*(pool.run(judge_file, order) for _ in range(FILES)))
        taken = time.perf_counter() - began
        looking.cancel()
        return FILES / taken, await looking
    finally:
        await pool.aclose()


async def _longest_stop() -> float:
    longest = 0.0
    try:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(LAG_LOOK_SECONDS)
            longest = max(longest, time.perf_counter() - began - LAG_LOOK_SECONDS)
    except asyncio.CancelledError:
        return longest


async def _memory(folder: Path) -> Figure:
    path = folder / "huge.xml"
    path.write_bytes(build_sample(HUGE))
    pool = Pool(1, seconds_max=120, memory_bytes_max=2048 * MEBIBYTE)
    try:
        most = await pool.run(judge_and_weigh, JudgeTask(path, "", TODAY))
    finally:
        await pool.aclose()
    size = path.stat().st_size / MEBIBYTE
    return Figure(
        name=f"validation: most memory to judge {size:.1f} MiB, its attachments in nodes of 10 MB",
        value=most,
        unit="MiB",
        goal="≤ 700",
        is_met=most <= 700,
        reference=size,
        reference_name="the file",
    )


def judge_and_weigh(order: JudgeTask) -> float:
    """Judge a file, and return the most memory that this process ever held, in MiB."""
    judged = judge_file(order)
    if judged.judgement.verdict != "valid":
        raise RuntimeError(f"a benchmark's flux is not valid: {judged.judgement.findings[:3]}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

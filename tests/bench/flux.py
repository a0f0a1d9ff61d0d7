"""How long a small flux takes from its import to its acknowledgement, and how much memory a large import takes."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import asyncssh

from local.keys.pki import DemoPki, ensure_demo_pki
from local.programs import BusKind
from pes.sample import write_large
from signing.keys import PemKey
from signing.verification import verify
from signing.xades import Stated, sign
from tests.bench.figures import Figure
from tests.fakes.helios import Helios
from tests.judging import judged
from tests.real.platform import COLLECTIVITE, RunningPlatform, run_platform, sample

WARM_UP = 5
FLUX = 40
GOAL_MILLISECONDS: dict[BusKind, int] = {"postgres": 300, "kafka": 500}
LARGE_BYTES = 127 * 1024 * 1024  # made within 1 %: as near as can be to the 128 MiB that `ingest` takes at most
GOAL_MEBIBYTES = 150
MEBIBYTE = 1024 * 1024
CHUNK_BYTES = 256 * 1024
NUMBERS = count(1)
LOOK_SECONDS = 0.002


def measure_latency(folder: Path, bus: BusKind) -> Figure:
    """Import small flux one after the other, and return the median time to `acknowledged`."""
    bare = asyncio.run(_bare(folder / "bare"))
    with run_platform(folder / bus, bus) as platform:
        times = [_one(platform) for _ in range(WARM_UP + FLUX)][WARM_UP:]
    median = statistics.median(times)
    goal = GOAL_MILLISECONDS[bus]
    return Figure(
        name=f"flux: import to acknowledged, median of {FLUX}, {'Kafka' if bus == 'kafka' else 'embedded'}",
        value=median,
        unit="ms",
        goal=f"≤ {goal}",
        is_met=median <= goal,
        reference=bare,
        reference_name="check, sign, send, get the answer, in one process",
    )


def measure_import_memory(folder: Path) -> Figure:
    """Import the largest file that is taken, and return the most memory that `ingest` ever had."""
    path = folder / "large.xml"
    size = write_large(path, LARGE_BYTES)
    with run_platform(folder / "large") as platform:
        before = _most_memory(platform.pid("ingest"))
        response = platform.http.post(
            f"{platform.ports.url('ingest')}/v1/flux",
            content=_chunks(path),
            headers={"X-Collectivite": COLLECTIVITE},
        )
        response.raise_for_status()
        most = _most_memory(platform.pid("ingest"))
    path.unlink()
    return Figure(
        name=f"ingest: most memory over an import of {size / MEBIBYTE:.1f} MiB",
        value=most,
        unit="MiB",
        goal=f"< {GOAL_MEBIBYTES}",
        is_met=most < GOAL_MEBIBYTES,
        reference=before,
        reference_name="the same process before",
    )


def _one(platform: RunningPlatform) -> float:
    content = sample(next(NUMBERS))
    began = datetime.now(UTC)
    flux_id = platform.send_until_taken(content, "")
    flux = platform.wait_for(flux_id, "acknowledged")
    if flux["state"] != "acknowledged":
        raise RuntimeError(f"a benchmark's flux ended {flux['state']}")
    events = platform.http.get(f"{platform.ports.url('history')}/v1/flux/{flux_id}/events").json()["events"]
    ended = next(event for event in events if event["kind"] == "flux.acknowledged.v1")["occurred_at"]
    return (datetime.fromisoformat(ended) - began) / timedelta(milliseconds=1)


def _most_memory(pid: int) -> float:
    """Return the highest resident size that a process has had, in MiB (Linux's VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / MEBIBYTE


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _bare(folder: Path) -> float:
    """Return the median time of the same work without journal, bus or services, in milliseconds."""
    pki = ensure_demo_pki(folder / "pki", datetime.now(UTC))
    async with (
        Helios(folder / "helios") as helios,
        helios.client() as sftp,
    ):
        times = [await _bare_one(sftp, pki) for _ in range(WARM_UP + FLUX)][WARM_UP:]
    return statistics.median(times)


async def _bare_one(sftp: asyncssh.SFTPClient, pki: DemoPki) -> float:
    content = sample(next(NUMBERS))
    known = await _replies(sftp)
    began = time.perf_counter()
    if judged(content, collectivite=COLLECTIVITE).findings:
        raise RuntimeError("a benchmark's flux is not valid")
    signed = _signed(content, pki)
    verify(signed)
    async with sftp.open("/entree/flux.xml", "wb") as file:
        await file.write(signed)
    while not (new := await _replies(sftp) - known):
        await asyncio.sleep(LOOK_SECONDS)
    async with sftp.open(f"/sortie/{new.pop()}", "rb") as file:
        await file.read()
    return (time.perf_counter() - began) * 1000


async def _replies(sftp: asyncssh.SFTPClient) -> set[str]:
    return {str(name) for name in await sftp.listdir("/sortie") if not str(name).startswith(".")}


def _signed(content: bytes, pki: DemoPki) -> bytes:
    key = PemKey.from_files(pki.signer_key, pki.signer_certificate)
    stated = Stated(role="Maire", city="Brumeval-les-Étangs", postal_code="34998")
    return sign(content, key=key, signing_time=datetime.now(UTC), stated=stated)

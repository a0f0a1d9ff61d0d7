"""Fetches the published broker, once: its jars, as ``deploy/kafka/pom.xml`` pins them."""

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import TextIO

from local.errors import KafkaUnavailableError
from local.folder import NAME, PROJECT
from local.kafka.java import find_command
from local.lock import take
from local.progress import Say, quiet

POM = PROJECT / "deploy" / "kafka" / "pom.xml"
DEFAULT_LIB = PROJECT / NAME / "kafka" / "lib"
FETCH_TIMEOUT_SECONDS = 600.0
STAMP = "pom.sha256"


def ensure_jars(folder: Path = DEFAULT_LIB, *, say: Say = quiet) -> Path:
    """Fetch the broker into a folder, unless it already holds what ``pom.xml`` pins today.

    Several processes may ask at once: one fetches, the others wait for it.

    Args:
        folder: will hold the jars and nothing else; it appears complete or not at all.
        say: told what happens, when it takes long enough to be worth telling.

    Returns:
        The folder.

    Raises:
        KafkaUnavailableError: no Maven, no network, or another process has been fetching for ten minutes.
    """
    folder = folder.absolute()
    pinned = hashlib.sha256(POM.read_bytes()).hexdigest()
    if _fetched(folder) == pinned:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a+", encoding="ascii") as file:
        _wait_for(file)
        if _fetched(folder) != pinned:
            maven = find_command("mvn")
            say("Téléchargement d’Apache Kafka (42 Mio, une seule fois)…")
            _fetch(maven, folder, pinned)
    return folder


def _fetched(folder: Path) -> str | None:
    stamp = folder / STAMP
    return stamp.read_text("ascii") if stamp.exists() else None


def _fetch(maven: str, folder: Path, pinned: str) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        work = Path(name)
        _run_maven(maven, work / "new")
        (work / "new" / STAMP).write_text(pinned, "ascii")
        if folder.exists():
            folder.rename(work / "old")
        (work / "new").rename(folder)


def _run_maven(maven: str, output: Path) -> None:
    argv = [
        maven,
        "-q",
        "-B",
        "-C",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={output}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - found on the user's own PATH
            argv, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise KafkaUnavailableError(
            f"Maven did not finish fetching Apache Kafka in {FETCH_TIMEOUT_SECONDS:.0f} s. "
            "Check the network and try again, or run without BUS=kafka."
        ) from e
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise KafkaUnavailableError(
            f"Maven could not fetch Apache Kafka: {lines[0] if lines else f'exit code {done.returncode}'} "
            "Check the network and Maven's settings.xml and try again, or run without BUS=kafka."
        )


def _wait_for(lock: TextIO) -> None:
    """Hold the lock until its file is closed, also when the process is killed."""
    try:
        take(lock, wait_seconds=FETCH_TIMEOUT_SECONDS)
    except BlockingIOError as e:
        raise KafkaUnavailableError(
            f"Another process has held {lock.name} for {FETCH_TIMEOUT_SECONDS:.0f} s while fetching "
            "Apache Kafka. Stop that process and try again."
        ) from e

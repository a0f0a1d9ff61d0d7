"""What a benchmark measured, and how it is shown."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 9


@dataclass(frozen=True)
class Figure:
    """One measure.

    Attributes:
        name: what was measured.
        value: how much, in `unit`.
        reference: what the bare parts do, in the same unit and the same run; None where there is none.
        reference_name: what the reference is.
        goal: what it should be, as a person reads it.
        is_met: whether it was, this time.
    """

    name: str
    value: float
    unit: str
    goal: str
    is_met: bool
    reference: float | None = None
    reference_name: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the reference."""
        return self.value / self.reference if self.reference else None


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the figures as a table."""
    table = Table("figure", "measured", "bare reference", "ratio", "goal", "met")
    for one in figures:
        reference = f"{one.reference:,.1f} {one.unit} ({one.reference_name})" if one.reference else "–"
        ratio = f"{one.ratio:.2f}" if one.ratio else "–"
        met = "yes" if one.is_met else "[bold red]no[/]"
        table.add_row(one.name, f"{one.value:,.1f} {one.unit}", reference, ratio, one.goal, met)
    console.print(table)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON, with the machine they were measured on."""
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "figures": [{**asdict(one), "ratio": one.ratio} for one in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def medians(
    one: Callable[[], object], other: Callable[[], object], *, times: int = 1, rounds: int = ROUNDS
) -> tuple[float, float]:
    """Return the median seconds of two things, done in turns so that noise meets both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for do, seconds in zip((one, other), taken, strict=True):
            began = time.perf_counter()
            for _ in range(times):
                do()
            seconds.append((time.perf_counter() - began) / times)
    return statistics.median(taken[0]), statistics.median(taken[1])

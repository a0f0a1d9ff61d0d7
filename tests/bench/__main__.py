"""Runs every benchmark, prints a table, and writes `bench.json`."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.bench.figures import Figure, show, write
from tests.bench.flux import measure_import_memory, measure_latency
from tests.bench.relay import measure_relay
from tests.bench.signature import measure_signature
from tests.bench.validation import measure_validation
from tests.real.kafka import KafkaCluster

Measure = Callable[[Path], list[Figure]]


def _relay(folder: Path) -> list[Figure]:
    with KafkaCluster(folder / "kafka") as kafka:
        return measure_relay(folder, kafka)


MEASURES: dict[str, Measure] = {
    "embedded": lambda folder: [measure_latency(folder, "postgres")],
    "kafka": lambda folder: [measure_latency(folder, "kafka")],
    "memory": lambda folder: [measure_import_memory(folder)],
    "relay": _relay,
    "validation": measure_validation,
    "signature": measure_signature,
}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        yield Path(folder)


def main() -> int:
    """Measure what is asked for; with `--strict`, a missed goal is an exit status of 1."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MEASURES], default=[], help="some of them only")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    asked = parser.parse_args()
    console = Console(stderr=True)
    figures: list[Figure] = []
    for name in asked.names or MEASURES:
        console.print(f"Measuring: {name}…")
        with _folder() as folder:
            figures += MEASURES[name](folder)
    show(figures, Console(width=None if sys.stdout.isatty() else 160))
    write(figures, asked.output)
    console.print(f"Written to {asked.output}.")
    return int(asked.strict and not all(one.is_met for one in figures))


if __name__ == "__main__":
    sys.exit(main())

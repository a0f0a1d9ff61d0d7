"""The technical log of services, read back: which lines are about one flux, in the order of time."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO

from cli.showing.output import Table
from pes.text import PARIS
from shared import wording
from shared.facts.streams import BY_KIND

Line = Mapping[str, object]

_WHAT = {
    "fact.recorded": "fait enregistré",
    "message.handled": "message traité",
    "message.retried": "attend un tiers",
    "message.parked": "mis de côté",
    "message.failed": "DÉFAUT",
    "request.answered": "demande répondue",
    "request.failed": "DÉFAUT",
}
# What the table says otherwise, or what every line of one flux has in common.
_KNOWN = frozenset(
    {"at", "service", "event", "level", "duration_seconds", "correlation_id", "flux_id", "collectivite"}
)
_OF_EVENTS = ("fact.", "message.")  # lines whose correlation id is the flux's own; that of a request may be another


@dataclass(frozen=True)
class Told:
    """What logs tell of one flux.

    Attributes:
        lines: oldest first.
        correlation_ids: under which it is found elsewhere, its trace among them.
        unreadable: how many further lines name it and are none of ours.
    """

    lines: Sequence[Line]
    correlation_ids: Sequence[str]
    unreadable: int


def told_of(flux_id: str, files: Sequence[IO[bytes]]) -> Told:
    """Return what logs tell of a flux: the lines that name it, or its correlation id.

    Each file is read twice, a line at a time: logs may be long.
    """
    correlations: dict[str, None] = {}
    unreadable = 0
    for raw in _lines(files, [flux_id]):
        line = _read(raw)
        if line is None:
            unreadable += 1
        elif line.get("flux_id") == flux_id and str(line.get("event")).startswith(_OF_EVENTS):
            correlations[str(line.get("correlation_id", flux_id))] = None
    ids = {flux_id, *correlations}
    found = [line for raw in _lines(files, ids) if (line := _read(raw))]
    return Told(sorted(found, key=_at), list(correlations), unreadable)


def is_reading(line: Line) -> bool:
    """Say whether a line is of somebody who looked at a flux, and was shown it: nothing happened to the flux."""
    status = line.get("status")
    return line.get("method") == "GET" and isinstance(status, int) and 200 <= status < 400


def table_of(lines: Sequence[Line], *, title: str) -> Table:
    """Return lines as a table that fits a terminal of 80 columns: nothing is cut, what is long is folded."""
    days = {_at(line).date() for line in lines}
    clock = "%H:%M:%S" if len(days) == 1 else "%d/%m %H:%M:%S"
    day = f", le {next(iter(days)):%d/%m/%Y}" if len(days) == 1 else ""
    table = Table(title=f"{title}{day} (heure : {PARIS})", title_justify="left", caption_justify="left", box=None)
    table.add_column("Heure", no_wrap=True)
    table.add_column("Service", no_wrap=True)
    table.add_column("Quoi", overflow="fold")
    table.add_column("Durée", justify="right", no_wrap=True)
    table.add_column("Précisions", overflow="fold")
    for line in lines:
        at = _at(line)
        event = str(line.get("event", ""))
        table.add_row(
            f"{at.strftime(clock)},{at.microsecond // 1000:03d}",
            str(line.get("service", "")),
            _WHAT.get(event, event),
            _duration(line),
            _details(line),
        )
    return table


def _lines(files: Iterable[IO[bytes]], ids: Iterable[str]) -> Iterator[bytes]:
    """Yield the lines that hold one of these ids."""
    wanted = [one.encode() for one in ids]
    for file in files:
        file.seek(0)
        yield from (raw for raw in file if any(one in raw for one in wanted))


def _read(raw: bytes) -> Line | None:
    """Read one line, which a program may have put its own name in front of; None when it is none of ours."""
    text = raw.decode("utf-8", "replace")
    try:
        line = json.loads(text[text.index("{") :])
        datetime.fromisoformat(line["at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _at(line: Line) -> datetime:
    return datetime.fromisoformat(str(line["at"])).astimezone(PARIS)


def _duration(line: Line) -> str:
    seconds = line.get("duration_seconds")
    return wording.duration(timedelta(seconds=seconds)) if isinstance(seconds, int | float) else ""


def _details(line: Line) -> str:
    """Return whatever else a line says; of an error its last words, the whole is in the log."""
    level = str(line.get("level", ""))
    said = [level] if level not in ("info", "debug", "") else []
    for name, value in line.items():
        if name == "error":
            said += [text.strip() for text in str(value).splitlines() if text.strip(" +-|")][-1:]
        elif name == "kind" and value in BY_KIND:
            said.append(str(value))
        elif name not in _KNOWN and value not in ("", None):
            said.append(f"{name}={value}")
    return " ".join(said)

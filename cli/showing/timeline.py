"""The timeline of a flux: what, who, when (Paris time, named once), and how long since the previous step."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cli.showing.output import Table
from pes.text import PARIS
from shared import wording
from shared.errors import MalformedMessageError, UnexpectedFactError
from shared.facts.envelope import Event, read_event
from shared.facts.lifecycles.flux import Flux


@dataclass(frozen=True)
class Step:
    """One line of the timeline.

    Attributes:
        since: the time since the previous step; None for the first.
    """

    what: str
    who: str
    at: datetime
    since: timedelta | None


def members_of(answer: Mapping[str, object], name: str = "events") -> list[Mapping[str, object]]:
    """Return a list in an answer of `history`, the events unless told otherwise, as JSON objects."""
    members = answer.get(name)
    return [member for member in members if isinstance(member, Mapping)] if isinstance(members, list) else []


def known_events(members: Iterable[Mapping[str, object]]) -> Iterator[Event]:
    """Yield the events that this version can read; a newer platform may tell of others."""
    for member in members:
        try:
            yield read_event(json.dumps(member))
        except MalformedMessageError:
            continue


def unread_kinds(members: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the kinds of the facts among some events that this version cannot read, each once."""
    unread = (member for member in members if not any(known_events([member])))
    return list(dict.fromkeys(str(member.get("kind", "?")) for member in unread))


def steps_of(members: Sequence[Mapping[str, object]]) -> list[Step]:
    """Return the timeline of a flux from its events, in order. No event is left out, known or not."""
    steps: list[Step] = []
    previous: datetime | None = None
    flux = Flux()
    for member in members:
        at = datetime.fromisoformat(str(member["occurred_at"]))
        since = None if previous is None else max(at - previous, timedelta())  # clocks of several machines
        event = next(known_events([member]), None)
        what = wording.what(event.data, flux.step) if event else str(member.get("kind", "?"))
        with suppress(UnexpectedFactError):  # of another stream, or after a fact that a newer platform wrote
            flux = flux.evolve(event.data) if event else flux
        steps.append(Step(what=what, who=wording.who(str(member.get("actor", ""))), at=at, since=since))
        previous = at
    return steps


def total_of(steps: Sequence[Step]) -> timedelta:
    """Return the time from the first step to the last."""
    return max(steps[-1].at - steps[0].at, timedelta()) if steps else timedelta()


def time_of(text: str) -> str:
    """Write a time of an answer (ISO 8601, UTC) as screens do, to the second."""
    return datetime.fromisoformat(text).astimezone(PARIS).strftime("%d/%m/%Y %H:%M:%S")


def table_of(steps: Sequence[Step], *, title: str) -> Table:
    """Return the timeline as a table: oldest first, sentences never cut."""
    zone = PARIS
    days = {step.at.astimezone(zone).date() for step in steps}
    clock = "%H:%M:%S" if len(days) == 1 else "%d/%m/%Y %H:%M:%S"
    day = f", le {next(iter(days)):%d/%m/%Y}" if len(days) == 1 else ""
    table = Table(title=f"{title}{day} (heure : {zone})", title_justify="left", caption_justify="left")
    table.add_column("Heure", no_wrap=True)
    table.add_column("Étape", overflow="fold")
    table.add_column("Par", overflow="fold")
    table.add_column("Depuis la précédente", justify="right", no_wrap=True)
    for step in steps:
        at = step.at.astimezone(zone)
        since = "" if step.since is None else wording.duration(step.since)
        table.add_row(f"{at.strftime(clock)},{at.microsecond // 1000:03d}", step.what, step.who, since)
    table.caption = f"Durée totale : {wording.duration(total_of(steps))}"
    return table

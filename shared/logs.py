"""Logs: one JSON object a line, on standard error. Never a document, a person's name or a secret."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import UUID

from shared.facts.envelope import Event, format_time

# What is being handled, for whom; the consumer and the APIs set it, every line carries it.
current_ids: ContextVar[dict[str, str]] = ContextVar("current_ids", default={})  # noqa: B039  # never mutated

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def ids_of(event: Event) -> dict[str, str]:
    """Return what a log line says of an event."""
    return {
        f"{event.stream.kind}_id": str(event.stream_id),
        "correlation_id": str(event.correlation_id),
        "collectivite": event.collectivite,
        "actor": event.actor,
    }


def ids_in(body: bytes | str) -> dict[str, str]:
    """Return the ids that stand in a message which is no event that we can read; what is no UUID is left out."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return ids_among(said, "flux_id", "stream_id", "correlation_id")


def ids_among(fields: Mapping[str, object], *names: str) -> dict[str, str]:
    """Return those of some fields that hold an id: whoever wrote them may have put anything else there."""
    found = {name: _as_id(fields.get(name)) for name in names}
    return {name: one for name, one in found.items() if one}


def _as_id(text: object) -> str:
    try:
        return str(UUID(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""


@contextmanager
def naming(ids: dict[str, str]) -> Iterator[None]:
    """Have every line that is written meanwhile carry these ids."""
    token = current_ids.set(ids)
    try:
        yield
    finally:
        current_ids.reset(token)


def seconds(duration: float) -> float:
    """Return a duration as lines give it, to the microsecond."""
    return round(duration, 6)


class JsonFormatter(logging.Formatter):
    """Writes a record and its `extra` fields as one line of JSON."""

    def __init__(self, service: str) -> None:
        """Every line names the service."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "at": format_time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
            **current_ids.get(),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def set_up_logs(service: str, level: str) -> None:
    """Send the logs of this process to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("asyncssh", "aiokafka", "uvicorn", "httpx"):
        logging.getLogger(noisy).setLevel("WARNING")

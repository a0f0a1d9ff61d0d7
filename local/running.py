"""What is known of the platform that runs in a folder, for the commands that did not start it."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from local.folder import DataFolder
from local.lock import is_held
from local.ports import Ports
from local.programs import BusKind
from local.supervision.supervisor import Supervisor


@dataclass(frozen=True)
class Running:
    """How a platform was started.

    Attributes:
        is_detached: it goes on without the process that started it.
        started_at: ISO 8601, UTC.
    """

    bus: BusKind
    port_base: int
    is_detached: bool
    started_at: str

    @property
    def ports(self) -> Ports:
        """Where it listens."""
        return Ports(self.port_base)


def record_running(folder: DataFolder, bus: BusKind, ports: Ports, *, is_detached: bool) -> Running:
    """Write down that a platform is ready."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    running = Running(bus, ports.base, is_detached=is_detached, started_at=now)
    folder.write(folder.platform_file, json.dumps(asdict(running)))
    return running


def forget_running(folder: DataFolder) -> None:
    """Write down that none is."""
    folder.platform_file.unlink(missing_ok=True)


def find_running(folder: DataFolder) -> Running | None:
    """Return the platform that is ready in this folder; None when there is none.

    One whose holder was killed is none: the next `up` stops what is left of it.
    """
    try:
        running = Running(**json.loads(folder.platform_file.read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
        return None
    is_alive = Supervisor(folder).process() is not None
    return running if is_alive and (running.is_detached or is_held(folder)) else None

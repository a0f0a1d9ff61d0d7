"""Which port each part of the local platform listens on; all follow from one base, so that two can run at once."""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from local.errors import BadSettingError

BASE_VARIABLE: Final = "HELIOTROPE_PORT_BASE"
DEFAULT_BASE: Final = 8400
# Above, the system hands ports out to outgoing connections.
BASE_MIN, BASE_MAX = 1024, 32_000

SERVICES: Final = ("ingest", "validation", "signature", "gateway", "ack", "relay", "history", "simulator")
# Those that the command line calls.
APIS: Final = ("ingest", "validation", "signature", "gateway", "ack", "history")

SFTP: Final = "simulator-sftp"
KAFKA: Final = "kafka"
KAFKA_CONTROLLER: Final = "kafka-controller"
_OFFSETS: Final = {
    **{name: number for number, name in enumerate(SERVICES, start=1)},
    SFTP: 22,
    KAFKA: 92,
    KAFKA_CONTROLLER: 93,
}


@dataclass(frozen=True)
class Ports:
    """The ports that follow from a base."""

    base: int = DEFAULT_BASE

    def of(self, name: str) -> int:
        """Return the port of a part."""
        return self.base + _OFFSETS[name]

    def url(self, service: str) -> str:
        """Return the address of a service's HTTP API."""
        return f"http://127.0.0.1:{self.of(service)}"


def base_of(environ: Mapping[str, str]) -> int:
    """Read the base in the environment.

    Raises:
        BadSettingError: it is not a port number that can serve.
    """
    text = environ.get(BASE_VARIABLE, "")
    if not text:
        return DEFAULT_BASE
    if not text.isascii() or not text.isdigit() or not BASE_MIN <= int(text) <= BASE_MAX:
        raise BadSettingError(
            "Ports mal choisis",
            f"{BASE_VARIABLE} vaut {text!r} : donnez un nombre entre {BASE_MIN} et {BASE_MAX}.",
        )
    return int(text)


def taken(ports: Ports, names: Iterable[str]) -> list[tuple[str, int]]:
    """Return the parts whose port someone else listens on."""
    return [(name, ports.of(name)) for name in names if not is_free(ports.of(name))]


def is_free(port: int) -> bool:
    """True when nobody on this machine listens on the port; nothing reserves it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)  # two sockets may share an address until one of them listens
        except OSError:
            return False
        return True

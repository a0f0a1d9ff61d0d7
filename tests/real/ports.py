"""Ports that no other test takes, in whatever process: two share a run, and two runs may share a machine.

Clients keep trying to reach a server that is away. On a port that the system also hands out to outgoing connections,
such a client may end up connected to itself and hold the port; these are below that range.
"""

import secrets
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

from local.ports import is_free

PORT_MIN, PORT_MAX = 20_000, 32_000
BLOCK = 100  # a platform's parts have room in one
_GUARDS: list[socket.socket] = []


def port_block() -> int:
    """Return the first of 99 ports in a row, all free, that are ours until this process ends.

    Whoever has a block listens on the last port of it, where the next one finds it taken.
    """
    start = secrets.randbelow(PORT_MAX - PORT_MIN) // BLOCK * BLOCK
    for step in range(0, PORT_MAX - PORT_MIN, BLOCK):
        base = PORT_MIN + (start + step) % (PORT_MAX - PORT_MIN)
        if (guard := _listening(base + BLOCK - 1)) is None:
            continue
        if all(map(is_free, _ports(base))):
            _GUARDS.append(guard)
            return base
        guard.close()
    raise OSError(f"No {BLOCK} free ports in a row between {PORT_MIN} and {PORT_MAX}: close some programs.")


def free_port() -> int:
    """Return a port of ours that nobody listens on; the same comes again only after all the others."""
    found = next(filter(is_free, islice(_own_ports(), BLOCK)), None)
    if found is None:
        raise OSError("All ports of this process are taken: stop some servers.")
    return found


@cache
def _own_ports() -> Iterator[int]:
    return cycle(_ports(port_block()))


def _ports(base: int) -> range:
    return range(base, base + BLOCK - 1)


def _listening(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None

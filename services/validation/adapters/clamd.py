"""Asks clamd, the daemon of ClamAV, whether a file holds a virus. Protocol: clamd(8), commands PING and INSTREAM.

"Cannot tell" is never "clean": whatever is not a clear answer is `UnavailableError`, and the file waits.
"""

import asyncio
import socket
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from pes.text import printable
from shared.errors import UnavailableError

PARTY = "clamd"
ANSWER_BYTES_MAX = 4096
NAME_CHARACTERS_MAX = 200
PIECE_BYTES = 256 * 1024

_FOUND = " FOUND"
_TOO_LARGE = "size limit exceeded"


class Clamd:
    """One clamd, reached by its socket; each question has a connection of its own."""

    def __init__(self, address: str, *, seconds_max: float) -> None:
        """Ask at `unix:///path` or `tcp://host:port`; each question takes at most `seconds_max`."""
        self._address = urlsplit(address)
        self._seconds_max = seconds_max

    async def scan(self, chunks: AsyncIterable[bytes]) -> str | None:
        """Return the name of what was found in these bytes, or None when they are clean.

        Raises:
            UnavailableError: clamd is away, too slow, or cannot tell.
        """
        loop = asyncio.get_running_loop()
        async with self._connection() as connection:
            await loop.sock_sendall(connection, b"zINSTREAM\0")
            async for chunk in chunks:
                if not await self._send(connection, chunk):
                    break
            has_heard_all = await self._tell(connection, bytes(4))
            found = verdict_of(await _answer(connection))
        if found is None and not has_heard_all:
            raise UnavailableError(PARTY, "it answered before it had heard everything")
        return found

    async def _send(self, connection: socket.socket, chunk: bytes) -> bool:
        for start in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[start : start + PIECE_BYTES]
            if not await self._tell(connection, len(piece).to_bytes(4, "big") + piece):
                return False
        return True

    async def _tell(self, connection: socket.socket, content: bytes) -> bool:
        """Send something; False when clamd has stopped listening: its answer, which is there already, says why."""
        try:
            await asyncio.get_running_loop().sock_sendall(connection, content)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def check(self) -> None:
        """Return if clamd answers; raise `UnavailableError` if not."""
        async with self._connection() as connection:
            await asyncio.get_running_loop().sock_sendall(connection, b"zPING\0")
            answer = await _answer(connection)
            if answer != "PONG":
                raise UnavailableError(PARTY, f"it answers {answer[:NAME_CHARACTERS_MAX]!r} to a ping")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[socket.socket]:
        """Lend a plain socket: asyncio's streams throw away what was not read when a write fails."""
        try:
            async with asyncio.timeout(self._seconds_max):
                family, address = await self._where()
                with socket.socket(family, socket.SOCK_STREAM) as connection:
                    connection.setblocking(False)  # noqa: FBT003  # the only way to say it
                    await asyncio.get_running_loop().sock_connect(connection, address)
                    yield connection
        except TimeoutError as error:
            raise UnavailableError(PARTY, f"no answer after {self._seconds_max:g} seconds") from error
        except OSError as error:
            raise UnavailableError(PARTY, str(error)) from error

    async def _where(self) -> tuple[int, str | tuple[str, int]]:
        if self._address.scheme == "unix":
            return socket.AF_UNIX, self._address.path
        found = await asyncio.get_running_loop().getaddrinfo(
            self._address.hostname, self._address.port, type=socket.SOCK_STREAM
        )
        family, _, _, _, (host, port, *_) = found[0]
        return family, (str(host), int(port))


async def _answer(connection: socket.socket) -> str:
    """Return the one answer, which ends with a NUL; nothing when it was cut off before."""
    content = b""
    while b"\0" not in content and len(content) < ANSWER_BYTES_MAX:
        piece = await asyncio.get_running_loop().sock_recv(connection, ANSWER_BYTES_MAX)
        if not piece:
            break
        content += piece
    answer, end, _ = content.partition(b"\0")
    return answer.decode("utf-8", "replace").strip() if end else ""


def verdict_of(answer: str) -> str | None:
    """Return what an answer to INSTREAM says was found; None when nothing was.

    Raises:
        UnavailableError: it does not say.
    """
    if answer == "stream: OK":
        return None
    if answer.startswith("stream: ") and answer.endswith(_FOUND):
        name = answer.removeprefix("stream: ").removesuffix(_FOUND)
        return printable(name, NAME_CHARACTERS_MAX)
    if _TOO_LARGE in answer:
        raise UnavailableError(PARTY, "its StreamMaxLength is too small: raise it above the largest flux (128 MiB)")
    raise UnavailableError(PARTY, f"it answers {answer[:NAME_CHARACTERS_MAX]!r}" if answer else "it gave no answer")

"""Asks clamd, the daemon of ClamAV, whether a file holds a virus. Protocol: clamd(8), commands PING and INSTREAM.

"Cannot tell" is never "clean": whatever is not a clear answer is `UnavailableError`, and the file waits.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

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
        async with self._connection() as (reader, writer):
            writer.write(b"zINSTREAM\0")
            try:
                async for chunk in chunks:
                    for start in range(0, len(chunk), PIECE_BYTES):
                        piece = chunk[start : start + PIECE_BYTES]
                        writer.write(len(piece).to_bytes(4, "big") + piece)
                        await writer.drain()
                writer.write(bytes(4))
                await writer.drain()
            except OSError:
                pass  # it has stopped listening: its answer, which may be there, says why
            return _verdict(await _answer(reader))

    async def check(self) -> None:
        """Return if clamd answers; raise `UnavailableError` if not."""
        async with self._connection() as (reader, writer):
            writer.write(b"zPING\0")
            await writer.drain()
            answer = await _answer(reader)
            if answer != "PONG":
                raise UnavailableError(PARTY, f"it answers {answer[:NAME_CHARACTERS_MAX]!r} to a ping")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            async with asyncio.timeout(self._seconds_max):
                reader, writer = await self._open()
                try:
                    yield reader, writer
                finally:
                    writer.transport.abort()  # nothing is left to say, whatever happened
        except TimeoutError as error:
            raise UnavailableError(PARTY, f"no answer after {self._seconds_max:g} seconds") from error
        except OSError as error:
            raise UnavailableError(PARTY, str(error)) from error

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.scheme == "unix":
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.hostname, self._address.port)


async def _answer(reader: asyncio.StreamReader) -> str:
    """Return the one answer, which ends with a NUL or with the connection."""
    content = b""
    while b"\0" not in content and len(content) < ANSWER_BYTES_MAX:
        piece = await reader.read(ANSWER_BYTES_MAX)
        if not piece:
            break
        content += piece
    return content.split(b"\0")[0].decode("utf-8", "replace").strip()


def _verdict(answer: str) -> str | None:
    if answer == "stream: OK":
        return None
    if answer.startswith("stream: ") and answer.endswith(_FOUND):
        name = answer.removeprefix("stream: ").removesuffix(_FOUND)
        return "".join(character if character.isprintable() else "?" for character in name[:NAME_CHARACTERS_MAX])
    if _TOO_LARGE in answer:
        raise UnavailableError(PARTY, "its StreamMaxLength is too small: raise it above the largest flux (128 MiB)")
    raise UnavailableError(PARTY, f"it answers {answer[:NAME_CHARACTERS_MAX]!r}" if answer else "it gave no answer")

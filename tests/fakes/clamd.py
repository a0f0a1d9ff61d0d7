"""A small clamd on a unix socket: PING and INSTREAM as the real one answers them, and ways to fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MARK = b"HELIOTROPE-TEST-VIRUS"
NAME = "Heliotrope.Test.UNOFFICIAL"
Mood = Literal["well", "mute", "cut", "cut short", "hasty", "rubbish", "error"]


@dataclass
class FakeClamd:
    """Finds one mark, unless its mood is another; refuses streams over `stream_bytes_max`."""

    path: Path
    stream_bytes_max: int = 25 * 1024 * 1024
    mood: Mood = "well"
    scans: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Where to ask."""
        return f"unix://{self.path}"

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question."""
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            command = await reader.readuntil(b"\0")
            if self.mood == "mute":
                await reader.read()
            elif self.mood in ("cut short", "hasty"):
                writer.write(b"stream: OK" if self.mood == "cut short" else b"stream: OK\0")
                await writer.drain()
            elif self.mood != "cut":
                writer.write(await self._answer(command, reader) + b"\0")
                await writer.drain()
        await _end(writer)
        self.writers.discard(writer)

    async def _answer(self, command: bytes, reader: asyncio.StreamReader) -> bytes:
        if command == b"zPING\0":
            return b"PONG" if self.mood == "well" else b"what?"
        if command != b"zINSTREAM\0":
            return b"UNKNOWN COMMAND"
        self.scans += 1
        content = b""
        while length := int.from_bytes(await reader.readexactly(4), "big"):
            content += await reader.readexactly(length)
            if len(content) > self.stream_bytes_max:
                return b"INSTREAM size limit exceeded. ERROR"
        if self.mood == "error":
            return b"stream: Can't allocate memory ERROR"
        if self.mood == "rubbish":
            return b"\xff\xfe"
        return f"stream: {NAME} FOUND".encode() if MARK in content else b"stream: OK"


@asynccontextmanager
async def fake_clamd(path: Path) -> AsyncIterator[FakeClamd]:
    """Run one."""
    clamd = FakeClamd(path)
    server = await asyncio.start_unix_server(clamd.on_connection, path)
    async with server:
        yield clamd
        for writer in list(clamd.writers):
            await _end(writer)
    await asyncio.sleep(0)
    await asyncio.to_thread(path.unlink, missing_ok=True)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

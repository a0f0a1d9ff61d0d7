"""A folder for files while they are being looked at: only this service reads it, and it is empty when it stops."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from shared.errors import UnavailableError


class ScratchFolder:
    """See `services.validation.ports.Scratch`."""

    def __init__(self, parent: Path | None) -> None:
        """Make a folder of our own in `parent`; None for the system's own place for temporary files."""
        self._folder = tempfile.TemporaryDirectory(prefix="heliotrope-validation-", dir=parent)

    @asynccontextmanager
    async def keep(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[Path]:
        """See `Scratch.keep`."""
        async with self.room() as path:
            try:
                with path.open("wb") as file:  # a temporary file: it is written to memory
                    async for chunk in chunks:
                        file.write(chunk)
            except OSError as error:  # the disk is full
                raise UnavailableError("scratch", str(error)) from error
            yield path

    @asynccontextmanager
    async def room(self) -> AsyncIterator[Path]:
        """See `Scratch.room`."""
        path = Path(self._folder.name) / uuid4().hex
        try:
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """See `Scratch.folder`."""
        async with self.room() as path:
            await asyncio.to_thread(path.mkdir)
            try:
                yield path
            finally:
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    async def aclose(self) -> None:
        """Throw everything away."""
        await asyncio.to_thread(self._folder.cleanup)

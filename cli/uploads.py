"""Sends files to `ingest` as they are read from the disk: never whole in memory, with their progress shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import uuid4

import httpx
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cli.api import Api
from cli.errors import CommandRefusedError
from cli.showing.output import console

CHUNK_BYTES = 256 * 1024

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Upload:
    """One file to import.

    Attributes:
        key: the Idempotency-Key: sent again after a cut, the same file is imported once.
        is_held: imported to leave on request only.
    """

    path: Path
    collectivite: str
    key: str = ""
    is_held: bool = False


def send_file(api: Api, upload: Upload, advance: Advance) -> dict[str, object]:
    """Import one file and return what `ingest` answers.

    Raises:
        CommandRefusedError: the file cannot be read here, or `ingest` refuses it.
        UnreachableError: `ingest` does not answer.
    """
    try:
        size = upload.path.stat().st_size
        upload.path.open("rb").close()
    except OSError as error:
        raise CommandRefusedError("Fichier illisible", f"{upload.path} : {error.strerror or error}.") from error
    headers = {
        "Content-Type": "application/xml",
        "Content-Length": str(size),
        "X-Filename": quote(upload.path.name),
        "Idempotency-Key": upload.key or uuid4().hex,
    }
    if upload.collectivite:
        headers["X-Collectivite"] = upload.collectivite
    params = {"send": "on_request"} if upload.is_held else {}
    url = api.url("ingest") + "/v1/flux"

    def send(client: httpx.Client) -> httpx.Response:
        return client.post(url, params=params, headers=headers, content=_chunks(upload.path, size, advance))

    return api.send("ingest", send)


def keys_of(key: str, count: int) -> list[str]:
    """Return one Idempotency-Key for each file, from the one that was given (empty: none was)."""
    if not key or count == 1:
        return [key] * count
    return [f"{key}#{number}" for number in range(1, count + 1)]


def _chunks(path: Path, size: int, advance: Advance) -> Iterator[bytes]:
    """Yield exactly `size` bytes: a file that grows meanwhile is sent as it was announced."""
    advance(-size)  # sent again from the start, if it is
    with path.open("rb") as file:
        left = size
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
            advance(len(chunk))


class UploadBars:
    """A bar for each file, on standard error; nothing when that is not a terminal."""

    def __init__(self) -> None:
        """Show nothing yet."""
        out = console(stderr=True)
        self._progress: Progress | None = None
        if out.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=out)

    def __enter__(self) -> Self:
        """Start showing."""
        self._live().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bars as they are."""
        self._live().__exit__(kind, error, trace)

    def follow(self, path: Path) -> Advance:
        """Add the bar of a file; what is returned moves it, and back to the start when the count is negative."""
        progress = self._progress
        if progress is None:
            return lambda _: None
        size = path.stat().st_size if path.is_file() else None
        bar = progress.add_task(path.name, total=size)

        def advance(count: int) -> None:
            if count < 0:
                progress.reset(bar, start=True)
            else:
                progress.advance(bar, count)

        return advance

    def _live(self) -> AbstractContextManager[object]:
        return self._progress if self._progress is not None else nullcontext()

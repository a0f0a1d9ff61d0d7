"""The files that a request brings, one by one, within bounds; what is refused of them is said here, once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from fastapi import Request

from shared import wording
from shared.errors import RequestRefusedError, Why
from shared.web.bodies import body_of, bounded
from shared.web.multipart import DEFAULT_FILENAME, File, boundary_of, files


@dataclass(frozen=True)
class Bounds:
    """How large each file of a request may be, and how many there may be."""

    file_bytes_max: int
    files_max: int


@dataclass(frozen=True)
class Upload:
    """The files of one request, to be read in order; `is_multipart`: otherwise its body is the one file."""

    files: AsyncIterator[File]
    is_multipart: bool


@asynccontextmanager
async def uploaded(request: Request, bounds: Bounds, *, filename: str, done: str = "") -> AsyncIterator[Upload]:
    """Read the files that a request brings.

    Args:
        request: its body is not read yet.
        bounds: what is taken.
        filename: what the file is called when the body is the file; percent-encoded, or empty.
        done: what has happened to the first files when there are too many: a French participle, or nothing.

    Raises:
        RequestRefusedError: the body is cut off, malformed, holds no file or too many, or a file is too large (raised
            by the reading of that file). Refusals raised inside the block pass through.
    """
    boundary = boundary_of(request.headers.get("content-type", ""))
    async with body_of(request, bounds.file_bytes_max) as body:
        if boundary is not None:
            yield Upload(_each(files(body, boundary), bounds, done), is_multipart=True)
        else:
            announced = request.headers.get("content-length", "")
            if announced.isdigit() and int(announced) > bounds.file_bytes_max:
                raise _file_too_large(bounds.file_bytes_max)
            yield Upload(_only(File(unquote(filename) or DEFAULT_FILENAME, body), bounds), is_multipart=False)


async def _each(found: AsyncIterator[File], bounds: Bounds, done: str) -> AsyncIterator[File]:
    count = 0
    async for file in found:
        if count == bounds.files_max:
            raise _too_many(count, done)
        count += 1
        yield _within(file, bounds)
    if not count:
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "no-file",
            "Aucun fichier",
            "La demande ne contient aucun fichier. Joignez au moins un flux PES (partie multipart avec un nom de "
            "fichier).",
        )


async def _only(file: File, bounds: Bounds) -> AsyncIterator[File]:
    yield _within(file, bounds)


def _within(file: File, bounds: Bounds) -> File:
    too_large = _file_too_large(bounds.file_bytes_max)
    return File(file.filename, bounded(file.chunks, bounds.file_bytes_max, too_large))


def _file_too_large(bytes_max: int) -> RequestRefusedError:
    return RequestRefusedError(
        Why.TOO_LARGE,
        "too-large",
        "Fichier trop volumineux",
        f"Le fichier dépasse {wording.size(bytes_max)}, la taille la plus grande qu’accepte la plateforme "
        f"({bytes_max} octets). Répartissez les bordereaux ou les pièces jointes sur plusieurs flux.",
        extra={"bytes_max": bytes_max},
    )


def _too_many(files_max: int, done: str) -> RequestRefusedError:
    meanwhile = f" ; les {files_max} premiers ont été {done}" if done else ""
    return RequestRefusedError(
        Why.TOO_LARGE,
        "too-many-files",
        "Trop de fichiers",
        f"Une demande peut contenir au plus {files_max} fichiers{meanwhile}. "
        "Envoyez les suivants dans une autre demande.",
        extra={"files_max": files_max},
    )

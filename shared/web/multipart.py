"""Reads the body of a request that brings files, as it arrives: one piece at a time.

FastAPI's own form reading writes every file to a temporary place first; here a piece goes from the network to the
document store and is never held longer.
"""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from shared.errors import RequestRefusedError, Why

HEADER_BYTES_MAX = 8 * 1024
HEADERS_MAX = 20  # of one part
DEFAULT_FILENAME = "flux.xml"


@dataclass
class File:
    """One file of the body; `chunks` must be read before the next file is asked for."""

    filename: str
    chunks: AsyncIterator[bytes]


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart/form-data content type; None for any other type."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    if not options.get(b"boundary"):
        raise _malformed("la frontière (boundary) manque dans l’en-tête Content-Type")
    return options[b"boundary"]


async def files(body: AsyncIterable[bytes], boundary: bytes) -> AsyncIterator[File]:
    """Yield the files of a body; form fields that are not files are passed over.

    Raises:
        RequestRefusedError: the body is not what its content type says, or ends too early.
    """
    reader = _Reader(body, boundary)
    while (event := await reader.next()) is not None:
        if isinstance(event, str):
            part = File(event, reader.data())
            yield part
            async for _ in part.chunks:  # what the caller did not read
                pass


class _Reader:
    """Turns the parser's callbacks into events: a file name begins a file, bytes are its data, None ends it."""

    def __init__(self, body: AsyncIterable[bytes], boundary: bytes) -> None:
        self._body = body.__aiter__()
        self._events: deque[str | bytes | None] = deque()
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._is_file = False
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def next(self) -> str | bytes | None:
        """Return the next event; None at the end of a file and at the end of the body."""
        while not self._events:
            chunk = await anext(self._body, None)
            if chunk is None:
                if not self._is_complete:
                    raise _malformed("le corps de la demande est incomplet")
                return None
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise _malformed("son découpage en parties est incorrect") from error
        return self._events.popleft()

    async def data(self) -> AsyncIterator[bytes]:
        """Yield the data of the file that has begun."""
        while isinstance(event := await self.next(), bytes):
            yield event

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._bound_headers()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._bound_headers()

    def _bound_headers(self) -> None:
        if len(self._header_name) + len(self._header_value) > HEADER_BYTES_MAX:
            raise _malformed("un en-tête de partie est trop long")

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        if len(self._headers) > HEADERS_MAX:
            raise _malformed("une partie a trop d’en-têtes")
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._is_file = b"filename" in options
        if self._is_file:
            self._events.append(options[b"filename"].decode("utf-8", "replace") or DEFAULT_FILENAME)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        if self._is_file:
            self._events.append(None)
        self._is_file = False

    def _on_end(self) -> None:
        self._is_complete = True


def _malformed(reason: str) -> RequestRefusedError:
    detail = f"L’envoi multipart/form-data ne peut pas être lu : {reason}. Recommencez l’envoi."
    return RequestRefusedError(Why.BADLY_FORMED, "multipart-malformed", "Envoi mal formé", detail)

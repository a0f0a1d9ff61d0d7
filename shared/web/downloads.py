"""Files handed out: never shown in the browser's own page, for their content is somebody else's, not ours."""

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi.responses import Response, StreamingResponse

from shared.web.problems import NO_STORE

MEDIA_TYPE = "application/octet-stream"  # a browser must never run or guess what a flux holds


def as_a_file(content: bytes, *, name: str) -> Response:
    """Answer with a file that is in memory."""
    return Response(content, headers=_headers(name, hashlib.sha256(content).hexdigest()), media_type=MEDIA_TYPE)


async def streamed(pieces: AsyncIterator[bytes], *, name: str, sha256: str, size: int) -> Response:
    """Answer with a file piece by piece: what prevents its first piece is answered as an error, later ones cut it."""
    first = await anext(pieces, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers = _headers(name, sha256) | {"Content-Length": str(size)}
    return StreamingResponse(whole(), headers=headers, media_type=MEDIA_TYPE)


def _headers(name: str, sha256: str) -> dict[str, str]:
    return {
        **NO_STORE,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:",  # RFC 9530
    }

"""What `ingest` admits: nothing is judged here that needs the file to be read."""

from collections.abc import AsyncIterator

from shared.errors import RequestRefusedError, Why

_MARKUP_STARTS = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\x00<", b"\x00<")
_START_BYTES_MAX = max(map(len, _MARKUP_STARTS))
_BLANKS = b" \t\r\n"


async def admit(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces of a file as they come, unchanged, and see that it holds something and may be XML.

    What it begins with is known only after the blanks in front, which have been yielded by then: nothing is held in
    memory, and whoever keeps the pieces throws them away if this raises.

    Raises:
        RequestRefusedError: it is empty, or cannot be XML.
    """
    head = b""
    async for chunk in chunks:
        if len(head) < _START_BYTES_MAX:
            head = (head + chunk).lstrip(_BLANKS)[:_START_BYTES_MAX]
            if len(head) == _START_BYTES_MAX:
                _check_start(head)
        yield chunk
    _check_start(head)


def _check_start(head: bytes) -> None:
    """Return if a file may begin so, blanks aside."""
    if not head:
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "empty-file",
            "Fichier vide",
            "Le fichier reçu est vide (0 octet utile). Exportez de nouveau le flux depuis le logiciel financier, "
            "puis recommencez.",
        )
    if not head.startswith(_MARKUP_STARTS):
        raise RequestRefusedError(
            Why.WRONG_KIND,
            "not-xml",
            "Ce n’est pas un fichier PES",
            "Le fichier reçu n’est pas un document XML. Choisissez le flux PES exporté par le logiciel financier "
            "(extension .xml, non compressé).",
        )

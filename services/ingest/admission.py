"""What `ingest` admits, and how it answers: nothing is judged here that needs the file to be read."""

from collections.abc import AsyncIterator, Mapping

from fastapi.responses import JSONResponse

from shared.errors import RequestRefusedError

_MARKUP_STARTS = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\x00<", b"\x00<")
_START_BYTES_MAX = max(map(len, _MARKUP_STARTS))
_BLANKS = b" \t\r\n"
_STATUS_MULTI = 207


async def admit(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces of a file as they come, unchanged, and see that it holds something and may be XML.

    What it begins with is known only after the blanks in front, which have been yielded by then: nothing is held in
    memory, and whoever keeps the pieces throws them away if this raises.

    Raises:
        RequestRefusedError: 400 for an empty file, 415 for one that cannot be XML.
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
            400,
            "empty-file",
            "Fichier vide",
            "Le fichier reçu est vide (0 octet utile). Exportez de nouveau le flux depuis le logiciel financier, "
            "puis recommencez.",
        )
    if not head.startswith(_MARKUP_STARTS):
        raise RequestRefusedError(
            415,
            "not-xml",
            "Ce n'est pas un fichier PES",
            "Le fichier reçu n'est pas un document XML. Choisissez le flux PES exporté par le logiciel financier "
            "(extension .xml, non compressé).",
        )


def refuse_early(headers: Mapping[str, str], bytes_max: int) -> None:
    """Refuse a file that says it is too large, before reading it."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > bytes_max:
        raise too_large(bytes_max)


def too_large(bytes_max: int) -> RequestRefusedError:
    """Return the refusal of a file over the bound."""
    return RequestRefusedError(
        413,
        "too-large",
        "Fichier trop volumineux",
        f"Le fichier dépasse {bytes_max // (1024 * 1024)} Mio, la taille la plus grande qu'accepte la plateforme "
        f"({bytes_max} octets). Répartissez les bordereaux ou les pièces jointes sur plusieurs flux.",
        extra={"bytes_max": bytes_max},
    )


def too_many(files_max: int) -> RequestRefusedError:
    """Return the refusal of a request with too many files."""
    return RequestRefusedError(
        413,
        "too-many-files",
        "Trop de fichiers",
        f"Une demande peut contenir au plus {files_max} fichiers ; les {files_max} premiers ont été importés. "
        "Envoyez les suivants dans une autre demande.",
        extra={"files_max": files_max},
    )


def cut_off() -> RequestRefusedError:
    """Return the refusal of a body that ended too early (the caller is gone; it goes to the logs)."""
    return RequestRefusedError(
        400, "cut-off", "Envoi interrompu", "L'envoi s'est interrompu avant la fin : rien n'a été importé."
    )


def accepted(taken: dict[str, object]) -> JSONResponse:
    """Answer one import."""
    return JSONResponse(taken, 202, {"Location": str(taken["href"])})


def several(results: list[dict[str, object]]) -> JSONResponse:
    """Answer several imports: 202 when all were taken, the refusal when all there was is refused, else 207."""
    if not results:
        raise RequestRefusedError(
            400,
            "no-file",
            "Aucun fichier",
            "La demande ne contient aucun fichier. Joignez au moins un flux PES (partie multipart avec un nom de "
            "fichier).",
        )
    taken = [result for result in results if result["status"] == 202]
    headers = {"Location": str(taken[0]["href"])} if taken else {}
    if len(results) == 1 and taken:
        return JSONResponse({key: value for key, value in taken[0].items() if key != "status"}, 202, headers)
    if len(results) == 1:
        return JSONResponse(results[0], int(str(results[0]["status"])), headers, "application/problem+json")
    return JSONResponse({"results": results}, 202 if len(taken) == len(results) else _STATUS_MULTI, headers)

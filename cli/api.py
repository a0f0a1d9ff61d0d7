"""Calls the platform's HTTP APIs, and says in French when that fails."""

import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from cli.client_config import ClientConfig
from cli.errors import CommandRefusedError, UnreachableError, problem

PATIENCE_SECONDS = 12.0  # how long a service that says "later" is asked again
PAUSE_SECONDS = 0.3
RETRY_AFTER_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 60.0

Send = Callable[[httpx.Client], httpx.Response]


class Api:
    """The platform, as one caller sees it."""

    def __init__(self, config: ClientConfig, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Call with the addresses and the token of `config`; nothing is opened before the first call."""
        is_local = all(urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost") for url in config.urls.values())
        self._urls = config.urls
        self._patience_seconds = patience_seconds
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {config.token}"},
            timeout=httpx.Timeout(ANSWER_SECONDS_MAX, connect=5.0),
            verify=ssl.create_default_context(),  # whom this machine trusts: a host may have an authority of its own
            trust_env=not is_local,  # a proxy does not know what runs on this machine
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, object]:
        """Ask `history` for something."""
        url = self._urls["history"] + path
        return self._call("history", lambda client: client.get(url, params=params))

    def request(self, service: str, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Ask a service to do something. Asked twice, it does it once."""
        url = self._urls[service] + path
        return self._call(service, lambda client: client.post(url, json=dict(body)))

    def send(self, service: str, send: Send) -> dict[str, object]:
        """Make a request of one's own; it is made again when the service says "later", so it must be repeatable."""
        return self._call(service, send)

    def download(self, service: str, path: str) -> bytes:
        """Ask a service for a file.

        Raises:
            CommandRefusedError: the service said no.
            UnreachableError: nobody answers.
        """
        url = self._urls[service] + path
        try:
            answer = self._client.get(url)
        except httpx.TransportError as error:
            raise unreachable(self._urls[service]) from error
        if not answer.is_success:
            body_of(answer)
        return answer.content

    def url(self, service: str) -> str:
        """Return the address of a service."""
        return self._urls[service]

    def _call(self, service: str, send: Send) -> dict[str, object]:
        """Make a request, again for a while when the service is busy or was cut off.

        Raises:
            CommandRefusedError: the service said no; its problem document is in the error.
            UnreachableError: nobody answers, or only to say "later".
        """
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                answer = send(self._client)
            except httpx.ConnectError as error:
                raise unreachable(self._urls[service]) from error
            except httpx.TransportError as error:
                if time.monotonic() + PAUSE_SECONDS > deadline:
                    raise unreachable(self._urls[service]) from error
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return body_of(answer)
            pause = retry_after(answer)
            if time.monotonic() + pause > deadline:
                document = _document(answer)
                raise UnreachableError(_text(document, "title"), _text(document, "detail"), document)
            time.sleep(pause)


def unreachable(url: str) -> UnreachableError:
    """Return the error of a platform that does not answer."""
    return UnreachableError("Plateforme injoignable", f"la plateforme ne répond pas sur {url} : lancez `make up`.")


def body_of(answer: httpx.Response) -> dict[str, object]:
    """Return the JSON of an answer.

    Raises:
        CommandRefusedError: it is a refusal, or no answer of ours.
    """
    document = _document(answer)
    if answer.is_success:
        return document
    raise CommandRefusedError(_text(document, "title"), _text(document, "detail"), document)


def retry_after(answer: httpx.Response) -> float:
    """Return how long to wait before asking again, as the answer says, within reason."""
    said = answer.headers.get("Retry-After", "")
    seconds = float(said) if said.isascii() and said.isdigit() else PAUSE_SECONDS
    return min(max(seconds, PAUSE_SECONDS), RETRY_AFTER_SECONDS_MAX)


def _document(answer: httpx.Response) -> dict[str, object]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return problem(
        "not-ours",
        "Réponse inattendue",
        f"{answer.request.url} a répondu {answer.status_code} sans document JSON : ce n’est sans doute pas la "
        "plateforme. Vérifiez son adresse (HELIOTROPE_URL).",
    )


def _text(document: Mapping[str, object], name: str) -> str:
    return str(document.get(name) or "")

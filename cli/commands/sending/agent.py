"""Runs the signatory's agent on their own computer: the portal's page asks, the signatory agrees, their key signs."""

import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from cli.commands.sending import signature as keys
from cli.errors import CommandRefusedError, UsageProblemError
from cli.options import AsJson
from cli.showing.output import emit_line, reason_of, reporting, say
from signing.certificates import name_of
from signing.keys import SigningKey

HOST: Final = "127.0.0.1"  # never anything else: whoever reaches the agent may ask for signatures
DEFAULT_PORT: Final = 8490
_STOP_SECONDS: Final = 5


def agent(
    origins: Annotated[
        list[str], typer.Option("--origin", metavar="URL", help="Adresse du portail à servir (répétable).")
    ],
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port local ; 0 en prend un libre.")
    ] = DEFAULT_PORT,
    p12: keys.P12Option = None,
    password_file: keys.PasswordFileOption = None,
    module: keys.Pkcs11Option = None,
    token: keys.TokenOption = "",
    pin_file: keys.PinFileOption = None,
    certificate: keys.CertificateOption = "",
    *,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="N’ouvre pas la page de confirmation : le portail le fait.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Signe sur ce poste ce que demande le portail, après votre accord. Ctrl-C l’arrête."""
    with reporting(as_json=as_json):
        keys.check_key_options(p12, password_file, module, token, pin_file, certificate)
        served = [origin_of(one) for one in origins]
        with (
            closing(_listening(port)) as listener,
            closing(keys.open_key(p12, password_file, module, token, pin_file, certificate)) as key,
        ):
            say(f"Agent de signature de « {name_of(key.certificate)} », pour {', '.join(served)}. Ctrl-C l’arrête.")
            keys.warn_of_expiry(key.certificate, datetime.now(UTC))
            with suppress(KeyboardInterrupt):  # that is how it is stopped
                _serve(listener, key, served, opens=not no_browser, as_json=as_json)
            say("Agent de signature arrêté.")


def origin_of(url: str) -> str:
    """Return the origin of a portal, as browsers write it.

    Raises:
        UsageProblemError: it is no address of a site; or one that others could speak for.
    """
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    host = parts.hostname or ""
    has_more = bool(parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not host or port == -1 or has_more or "*" in host:
        raise UsageProblemError(
            "Adresse de portail illisible",
            f"« {url} » : donnez le début de l’adresse du portail, par exemple https://portail.exemple.fr.",
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageProblemError(
            "Portail sans chiffrement",
            f"« {url} » : sur le réseau, une page http peut être remplacée en chemin par une autre, qui parlerait à "
            "l’agent. Donnez l’adresse https du portail.",
        )
    name = f"[{host}]" if ":" in host else host
    is_default = port is None or port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + ("" if is_default else f":{port}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # On Windows, "reuse" would let another program listen on the agent's port.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, alone, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise CommandRefusedError(
            "Port occupé",
            f"Le port {port} de ce poste ne peut pas être pris ({reason_of(error)}). Un agent tourne peut-être "
            "déjà ; sinon, choisissez un autre port avec --port.",
        ) from error
    return listener


def _serve(listener: socket.socket, key: SigningKey, origins: Sequence[str], *, opens: bool, as_json: bool) -> None:
    """Serve until Ctrl-C."""
    import uvicorn  # noqa: PLC0415  # no other command needs what these two bring

    from agent.service import Agent  # noqa: PLC0415  # as above

    port = listener.getsockname()[1]
    url = f"http://{HOST}:{port}"

    def announce(code: str) -> None:
        if as_json:
            emit_line({"url": url, "pairing_code": code, "origins": list(origins)})
        else:
            say(f"Code d’appairage, à recopier dans le portail : {code[:4]} {code[4:]}")

    running = Agent(
        key=key,
        port=port,
        version=version("heliotrope"),
        announce=announce,
        open_page=_opener(opens=opens),
    )
    config = uvicorn.Config(
        running.app(*origins),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    announce(running.pairing.code)
    uvicorn.Server(config).run(sockets=[listener])


def _opener(*, opens: bool) -> Callable[[str], None]:
    """Return what brings a confirmation before the signatory: their browser, and a sentence in the terminal."""

    def opener(url: str) -> None:
        say(f"Une demande de signature attend votre réponse : {url}")
        if opens:  # in a thread: a browser that runs in the terminal ends when its user leaves it
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return opener

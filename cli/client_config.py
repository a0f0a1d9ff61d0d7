"""Where the platform is, and who the command line is for it.

`heliotrope up` writes this down in its data folder (`client.json`); the environment overrides each part, which is how
the same commands reach a platform elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.errors import UnreachableError
from local.folder import candidate_folders
from local.ports import APIS, Ports, base_of

TOKEN_VARIABLE = "HELIOTROPE_TOKEN"  # noqa: S105  # the name of a variable
COLLECTIVITE_VARIABLE = "HELIOTROPE_COLLECTIVITE"
URL_VARIABLE = "HELIOTROPE_URL"


@dataclass(frozen=True)
class ClientConfig:
    """What a command needs to call the platform.

    Attributes:
        urls: the address of each API, by the service's name.
        token: the bearer token.
        collectivite: the SIREN that an import is for when nothing says otherwise; may be empty.
    """

    urls: Mapping[str, str]
    token: str
    collectivite: str = ""


def read_client_config(environ: Mapping[str, str]) -> ClientConfig:
    """Put together what `up` wrote and what the environment says.

    Raises:
        UnreachableError: nothing says who we are; no platform was ever started here.
    """
    written = _read_file(environ)
    base = Ports(base_of(environ))
    urls = {name: _url(name, environ, written, base) for name in APIS}
    token = environ.get(TOKEN_VARIABLE, "") or _read_token(str(written.get("token_file", "")))
    if not token:
        raise UnreachableError(
            "Aucune plateforme connue ici",
            "Lancez `make up` (ou `heliotrope up`), ou donnez HELIOTROPE_URL et HELIOTROPE_TOKEN pour joindre une "
            "plateforme distante.",
        )
    return ClientConfig(urls=urls, token=token, collectivite=str(written.get("collectivite", "")))


def _read_file(environ: Mapping[str, str]) -> dict[str, object]:
    for folder in candidate_folders(environ):
        try:
            written = json.loads(folder.client_file.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            continue
        if isinstance(written, dict):
            return written
    return {}


def _url(name: str, environ: Mapping[str, str], written: Mapping[str, object], ports: Ports) -> str:
    urls = written.get("urls")
    known = urls.get(name) if isinstance(urls, Mapping) else None
    said = environ.get(f"HELIOTROPE_{name.upper()}_URL") or environ.get(URL_VARIABLE)
    return str(said or known or ports.url(name)).rstrip("/")


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip() if path else ""
    except FileNotFoundError:
        return ""

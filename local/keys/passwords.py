"""Draws the passwords of the local platform, once."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from local.folder import DataFolder

PASSWORD_BYTES = 24


@dataclass(frozen=True)
class Credentials:
    """How the gateway and the collector enter the local Hélios."""

    username: str
    password: str


def ensure_simulator_credentials(folder: DataFolder) -> Credentials:
    """Return the login of the local Hélios; the password is drawn once, and readable by its owner only."""
    path = folder.keys / "simulator.json"
    try:
        known: Mapping[str, str] = json.loads(path.read_text("utf-8"))
        return Credentials(known["username"], known["password"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        made = Credentials("heliotrope", secrets.token_urlsafe(PASSWORD_BYTES))
        folder.write(path, json.dumps({"username": made.username, "password": made.password}), mode=0o600)
        return made

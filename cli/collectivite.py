"""Finds out which collectivité a file belongs to, so that nobody has to say it twice."""

import re
from collections.abc import Mapping
from pathlib import Path

from cli.client_config import COLLECTIVITE_VARIABLE
from shared.facts.values import SIREN_SHAPE

HEAD_BYTES = 64 * 1024
_VALUE = rb"""<(?:[A-Za-z_][\w.-]*:)?%s\s[^>]{0,200}?\bV\s*=\s*["']\s*([0-9A-Z]{1,100})\s*["']"""
_SIRET = re.compile(rf"({SIREN_SHAPE})[0-9]{{0,5}}")


def collectivite_of(head: bytes) -> str:
    """Return the SIREN in the IdColl (a SIRET) of a PES, from its first bytes; empty when there is none."""
    found = _SIRET.fullmatch(value_in(head, "IdColl"))
    return found[1] if found else ""


def value_in(head: bytes, name: str) -> str:
    """Return the code in the first element of a name, in the first bytes of a PES; empty when there is none."""
    found = re.search(_VALUE % name.encode("ascii"), head)
    return found[1].decode("ascii") if found else ""


def choose_collectivite(path: Path, *, asked: str, environ: Mapping[str, str], default: str) -> str:
    """Return the collectivité to import a file for: as asked, else as the environment, the file or `default` says."""
    if known := asked or environ.get(COLLECTIVITE_VARIABLE, ""):
        return known
    with path.open("rb") as file:
        return collectivite_of(file.read(HEAD_BYTES)) or default

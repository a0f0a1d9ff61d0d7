"""The commands of the manual that save and restore a database, run as an operator would."""

import os
import re
import subprocess
from pathlib import Path

from local.postgres.binaries import find_binaries
from local.postgres.server import LocalPostgres

MANUAL = Path(__file__).parents[1] / "docs" / "operations.md"
SERVICES = "ingest validation signature gateway ack relay history"


def save(dsn: str, folder: Path) -> None:
    """Save a database in a folder."""
    run(_commands("Sauvegarder la base"), DATABASE_URL=dsn, SAUVEGARDE=str(folder))


def restore(dsn: str, folder: Path) -> None:
    """Restore a database from a folder; it is not migrated yet."""
    run(_commands("Restaurer la base"), DATABASE_URL=dsn, SAUVEGARDE=str(folder))


def empty_database(server: LocalPostgres) -> str:
    """Make an empty database on a server that has just been made, and the services' accounts; say how to connect."""
    run(
        f"createdb --maintenance-db '{server.dsn()}' heliotrope && for one in {SERVICES}; do "
        f"psql -qd '{server.dsn()}' -c \"create role heliotrope_$one\"; done"
    )
    return server.dsn("heliotrope")


def run(text: str, **variables: str) -> None:
    """Run commands of a shell; they must succeed."""
    path = f"{find_binaries()}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _commands(title: str) -> str:
    """Return the commands that the manual gives under a bold title."""
    found = re.search(rf"\*\*{title}\*\*.*?```sh\n(.*?)```", MANUAL.read_text("utf-8"), re.DOTALL)
    assert found, title
    return found[1]

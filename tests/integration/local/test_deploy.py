"""The database of a deployment: its logins are made with their passwords, then the schema finds them."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import asyncpg

from local.postgres.binaries import find_binaries
from local.postgres.server import LocalPostgres
from shared.journal.schema import migrate

ROLES = Path(__file__).parents[3] / "deploy/postgres/roles.sh"
LOGINS = ("heliotrope_service", "heliotrope_relay", "heliotrope_history")


def test_the_logins_have_their_passwords_and_what_each_may_do(tmp_path: Path) -> None:
    with LocalPostgres(tmp_path / "postgres") as server:
        subprocess.run([str(ROLES)], env=environment(server), check=True)
        asyncio.run(migrate(server.dsn()))
        passwords, rights = asyncio.run(what_is_known(server.dsn()))
    if not server.sockets.is_relative_to(server.folder):
        shutil.rmtree(server.sockets, ignore_errors=True)
    assert all(passwords[login].startswith("SCRAM-SHA-256$") for login in LOGINS)
    assert len(set(passwords.values())) == len(LOGINS)
    assert rights == [
        ("heliotrope_service", True, False),
        ("heliotrope_relay", False, True),
        ("heliotrope_history", False, False),
    ]


def environment(server: LocalPostgres) -> dict[str, str]:
    return {
        "PATH": f"{find_binaries()}:{os.environ['PATH']}",
        "PGHOST": str(server.sockets),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "postgres",
        "SERVICE_DB_PASSWORD": "one",
        "RELAY_DB_PASSWORD": "two's",
        "HISTORY_DB_PASSWORD": "three",
    }


async def what_is_known(dsn: str) -> tuple[dict[str, str], list[tuple[str, bool, bool]]]:
    """Return the password of each login, as it is kept, and whether it may append facts and order them."""
    connection = await asyncpg.connect(dsn)
    try:
        kept = await connection.fetch("select rolname, rolpassword from pg_authid where rolname = any($1)", LOGINS)
        may = await connection.fetch(
            "select name, has_table_privilege(name, 'journal', 'insert') as appends,"
            " has_table_privilege(name, 'journal_order', 'insert') as orders from unnest($1::text[]) as name",
            LOGINS,
        )
    finally:
        await connection.close()
    rights = [(row["name"], row["appends"], row["orders"]) for row in may]
    return {row["rolname"]: row["rolpassword"] for row in kept}, rights

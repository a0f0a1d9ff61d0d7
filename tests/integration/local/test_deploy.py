"""The database of a deployment: its logins are made with their passwords, and the schema finds them."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import asyncpg

from local.postgres.binaries import find_binaries
from local.postgres.server import LocalPostgres
from shared.journal.grants import SERVICES_WITH_A_LOGIN, login_of
from shared.journal.schema import migrate

ROLES = Path(__file__).parents[3] / "deploy/postgres/roles.sh"
LOGINS = [login_of(service) for service in SERVICES_WITH_A_LOGIN]


def test_each_login_has_its_own_password_before_and_after_the_schema(tmp_path: Path) -> None:
    with LocalPostgres(tmp_path / "postgres") as server:
        make_logins(server, "one")
        asyncio.run(migrate(server.dsn()))
        first = asyncio.run(passwords(server.dsn()))
        make_logins(server, "two")
        second = asyncio.run(passwords(server.dsn()))
    if not server.sockets.is_relative_to(server.folder):
        shutil.rmtree(server.sockets, ignore_errors=True)
    assert all(password.startswith("SCRAM-SHA-256$") for password in (*first.values(), *second.values()))
    assert len({*first.values(), *second.values()}) == 2 * len(LOGINS)
    assert first.keys() == second.keys() == set(LOGINS)


def make_logins(server: LocalPostgres, password: str) -> None:
    given = {f"{service.upper()}_DB_PASSWORD": f"{password}'s {service}" for service in SERVICES_WITH_A_LOGIN}
    subprocess.run([str(ROLES)], env=environment(server) | given, check=True)


def environment(server: LocalPostgres) -> dict[str, str]:
    return {
        "PATH": f"{find_binaries()}:{os.environ['PATH']}",
        "PGHOST": str(server.sockets),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "postgres",
    }


async def passwords(dsn: str) -> dict[str, str]:
    """Return the password of each login, as it is kept."""
    connection = await asyncpg.connect(dsn)
    try:
        kept = await connection.fetch("select rolname, rolpassword from pg_authid where rolname like 'heliotrope%'")
    finally:
        await connection.close()
    return {row["rolname"]: row["rolpassword"] for row in kept}

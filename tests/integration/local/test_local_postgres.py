"""The embedded PostgreSQL: it outlives who starts it, anyone may stop it, and a kill -9 loses nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from local.errors import PostgresUnavailableError
from local.postgres.postmaster import SOCKET_NAME, socket_directory
from local.postgres.server import LocalPostgres

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    # The place that a user chooses may well have a space or an accent in its name.
    server = LocalPostgres(tmp_path / "mes données")
    yield server
    server.stop()
    if not server.sockets.is_relative_to(server.folder):
        shutil.rmtree(server.sockets, ignore_errors=True)


async def query(server: LocalPostgres, sql: str, *, user: str = "postgres") -> object:
    connection = await asyncpg.connect(server.dsn(user=user), timeout=10)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def in_another_process(server: LocalPostgres, action: str) -> None:
    program = (
        "import sys, pathlib; from local.postgres.server import LocalPostgres\n"
        f"LocalPostgres(pathlib.Path(sys.argv[1])).{action}()"
    )
    subprocess.run([sys.executable, "-c", program, str(server.folder)], cwd=PROJECT, check=True, timeout=60)


def recorded_pid(server: LocalPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


async def test_any_role_connects_through_the_socket(postgres: LocalPostgres) -> None:
    postgres.start()
    await query(postgres, 'CREATE ROLE "comptable public" LOGIN')
    assert await query(postgres, "SELECT current_user::text", user="comptable public") == "comptable public"


async def test_the_settings_that_matter_are_in_force(postgres: LocalPostgres) -> None:
    postgres.start()
    for name, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "TimeZone": "UTC",
        "max_connections": "200",
        "idle_in_transaction_session_timeout": "1min",
        "listen_addresses": "",
    }.items():
        assert await query(postgres, f"SHOW {name}") == value


async def test_a_killed_server_starts_again_with_what_was_committed(postgres: LocalPostgres) -> None:
    postgres.start()
    await query(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(recorded_pid(postgres), signal.SIGKILL)
    postgres.start()
    assert await query(postgres, "SELECT answer FROM kept") == 42


async def test_a_dead_server_whose_number_was_given_to_another_program_is_not_mistaken_for_alive(
    postgres: LocalPostgres,
) -> None:
    postgres.start()
    pid = recorded_pid(postgres)
    os.kill(pid, signal.SIGKILL)
    for lock in (postgres.data / "postmaster.pid", postgres.sockets / f"{SOCKET_NAME}.lock"):
        lock.write_text(lock.read_text().replace(str(pid), str(os.getpid()), 1))
    assert not postgres.is_running()
    postgres.start()
    assert await query(postgres, "SELECT 1") == 1


async def test_the_server_outlives_who_started_it_and_another_process_stops_it(postgres: LocalPostgres) -> None:
    in_another_process(postgres, "start")
    assert await query(postgres, "SELECT 1") == 1
    in_another_process(postgres, "stop")
    assert not postgres.is_running()
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        await query(postgres, "SELECT 1")


async def test_starting_or_stopping_twice_changes_nothing(postgres: LocalPostgres) -> None:
    postgres.start()
    pid = recorded_pid(postgres)
    postgres.start()
    assert recorded_pid(postgres) == pid
    postgres.stop()
    postgres.stop()


def test_a_server_is_stopped_though_a_folder_above_it_was_closed_meanwhile(postgres: LocalPostgres) -> None:
    postgres.start()
    postgres.folder.parent.chmod(0o700)
    postgres.stop()
    assert not postgres.is_running()


def test_a_supervisor_may_run_the_command_itself(postgres: LocalPostgres) -> None:
    postgres.prepare()
    with subprocess.Popen(postgres.argv, user=postgres.user, cwd="/", stderr=subprocess.DEVNULL) as process:
        try:
            postgres.wait_until_ready()
            assert postgres.is_running()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


async def test_a_deep_folder_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path / ("x" * 100))
    try:
        with server:
            assert server.sockets.parent == Path("/tmp")  # noqa: S108 - the expected place
            assert server.sockets == socket_directory(server.folder)
            assert server.sockets.stat().st_mode & 0o777 == 0o700
            assert await query(server, "SELECT 1") == 1
    finally:
        shutil.rmtree(server.sockets, ignore_errors=True)


def test_a_socket_directory_that_someone_else_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.postgres.postmaster.SHORT_SOCKET_PARENT", tmp_path)
    server = LocalPostgres(tmp_path / ("x" * 100))
    server.sockets.symlink_to(tmp_path)
    with pytest.raises(PostgresUnavailableError, match="is not ours"):
        server.start()


def test_a_server_that_cannot_start_says_why(postgres: LocalPostgres) -> None:
    postgres.prepare()
    (postgres.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresUnavailableError, match=r"(?s)did not start.*incompatible with server") as caught:
        postgres.start()
    assert str(postgres.folder) in str(caught.value)

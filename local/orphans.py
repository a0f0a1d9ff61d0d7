"""Stops what an earlier platform of the same folder left running, however it ended.

When `up` is killed, supervisord goes on and is asked to stop, in order. When supervisord itself was killed, its
children go on: they are told by the mark in their environment (`programs.MARKER`).
"""

import psutil

from local.folder import DataFolder
from local.postgres.server import LocalPostgres
from local.programs import MARKER
from local.supervision.supervisor import Supervisor

STOP_SECONDS_MAX = 10.0
POSTGRES_PROCESS = "postgres"  # stopped by its own tool, last


def stop_everything(folder: DataFolder, supervisor: Supervisor) -> bool:
    """Stop all that runs for a folder: services, then the bus, then PostgreSQL; say whether anything did."""
    postgres = LocalPostgres(folder.postgres)
    found = supervisor.process() is not None
    supervisor.shut_down()
    orphans = _marked(folder)
    _stop(orphans)
    is_database_left = postgres.is_running()
    postgres.stop()
    return found or bool(orphans) or is_database_left


def _marked(folder: DataFolder) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_ours(process, str(folder.root))]


def _is_ours(process: psutil.Process, root: str) -> bool:
    try:
        return process.environ().get(MARKER) == root and not process.name().startswith(POSTGRES_PROCESS)
    except (psutil.Error, OSError):  # not ours to look at, or gone
        return False


def _stop(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process, is_kind=True)
    _, left = psutil.wait_procs(processes, STOP_SECONDS_MAX)
    for process in left:
        _signal(process, is_kind=False)
    psutil.wait_procs(left, STOP_SECONDS_MAX)


def _signal(process: psutil.Process, *, is_kind: bool) -> None:
    try:
        if is_kind:
            process.terminate()
        else:
            process.kill()
    except psutil.NoSuchProcess:
        return

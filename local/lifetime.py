"""Runs a platform for as long as a command lasts: finds the one that runs, or starts one, holds it, stops it."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil

from local.errors import PlatformError
from local.folder import DataFolder
from local.lock import held, holder, is_held
from local.orphans import stop_everything
from local.platform import Platform
from local.ports import Ports
from local.programs import BusKind
from local.progress import Say
from local.running import Running, find_running, forget_running
from local.supervision.supervisor import Supervisor

START_SECONDS_MAX = 120.0  # how long another command that is starting this platform is waited for
STOP_SECONDS_MAX = 100.0
LOOK_SECONDS = 0.5


@contextmanager
def kept(
    folder: DataFolder, ports: Ports, bus: BusKind, say: Say, environ: Mapping[str, str]
) -> Iterator[tuple[Platform, Running]]:
    """Start a platform, lend it, and stop it, whatever happens meanwhile.

    Raises:
        HeldElsewhereError: another command holds the platform of this folder.
        PlatformError: it does not start.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    with held(folder), _terminated_as_interrupted():
        platform = Platform(folder, ports, bus, say)
        running = platform.start(environ, is_detached=False)
        try:
            yield platform, running
        finally:
            with _deaf():
                say("Arrêt de la plateforme…")
                platform.stop()
                say("Plateforme arrêtée ; les données sont gardées.")


def detach(folder: DataFolder, ports: Ports, bus: BusKind, say: Say, environ: Mapping[str, str]) -> Running:
    """Start a platform that goes on by itself, unless one runs already; return it.

    Raises:
        PlatformError: it does not start.
        KeyboardInterrupt: Ctrl-C, or SIGTERM: nothing is left running.
    """
    if running := find_running(folder):
        return running
    with held(folder, wait_seconds=START_SECONDS_MAX), _terminated_as_interrupted():
        if running := find_running(folder):  # by the command that we waited for
            return running
        return Platform(folder, ports, bus, say).start(environ, is_detached=True)


def hold_until_interrupted(platform: Platform) -> None:
    """Return when Ctrl-C or SIGTERM asks to stop.

    Raises:
        PlatformError: the supervisor died.
    """
    try:
        while platform.supervisor.is_alive():
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return
    raise PlatformError(
        "La plateforme s’est arrêtée",
        f"Le superviseur n’est plus là ; son journal dit pourquoi : {platform.folder.logs}/supervisord.log.",
    )


def stop(folder: DataFolder) -> bool:
    """Stop the platform of a folder, whoever holds it; say whether there was anything to stop.

    Raises:
        HeldElsewhereError: the process that holds it does not let go.
    """
    was_held = is_held(folder)
    if was_held:
        _ask_to_stop(holder(folder))
    with held(folder, wait_seconds=STOP_SECONDS_MAX):
        forget_running(folder)
        return stop_everything(folder, Supervisor(folder)) or was_held


def _ask_to_stop(pid: int) -> None:
    try:
        process = psutil.Process(pid) if pid else None
        if process is not None and process.username() == psutil.Process().username():
            process.terminate()
    except psutil.Error:
        return  # it has just ended


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM end us as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _deaf() -> Iterator[None]:
    """Finish stopping, however often Ctrl-C is pressed meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A whole platform for a test, started by the command line as an operator would, with its own ports and folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from local.folder import DataFolder
from local.ports import Ports
from local.supervision.supervisor import Supervisor
from pes.sample import SampleSpec, build_sample
from tests.real.ports import port_block

T = TypeVar("T")

COLLECTIVITE = SampleSpec().siret[:9]
FINAL = {"acknowledged", "partially_rejected", "rejected", "invalid", "cancelled"}
COMMAND_SECONDS_MAX = 120.0


@dataclass
class RunningPlatform:
    """A platform that runs, as a client and as someone who breaks things see it."""

    folder: DataFolder
    ports: Ports
    env: dict[str, str]

    def __post_init__(self) -> None:
        """Open one HTTP client, with the operator's token."""
        self.http = httpx.Client(auth=self._with_token, timeout=30, trust_env=False)
        self.supervisor = Supervisor(self.folder)

    def _with_token(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self.folder.token_file.read_text('ascii').strip()}"
        return request

    def heliotrope(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line, with these variables beside its own."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            env={**self.env, **variables},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def send(self, content: bytes, **headers: str) -> httpx.Response:
        """Import bytes."""
        return self.http.post(
            f"{self.ports.url('ingest')}/v1/flux",
            content=content,
            headers={"X-Collectivite": COLLECTIVITE, "X-Filename": "pes.xml", **headers},
        )

    def send_until_taken(self, content: bytes, key: str) -> str:
        """Import bytes, trying again with the same Idempotency-Key while the platform is away; return the flux id."""
        deadline = time.monotonic() + 60
        while True:
            try:
                response = self.send(content, **{"Idempotency-Key": key})
                if response.status_code == 202:
                    return str(response.json()["flux_id"])
                assert response.status_code == 503, response.text
            except httpx.TransportError:
                pass  # it was just killed
            assert time.monotonic() < deadline, "the import was never taken"
            time.sleep(0.05)

    def flux(self, flux_id: str) -> dict[str, object]:
        """Return what the platform says of a flux."""
        response = self.http.get(f"{self.ports.url('history')}/v1/flux/{flux_id}")
        response.raise_for_status()
        return dict(response.json())

    def kinds(self, flux_id: str) -> list[str]:
        """Return the kinds of the facts of a flux."""
        response = self.http.get(f"{self.ports.url('history')}/v1/flux/{flux_id}/events")
        return [event["kind"] for event in response.json()["events"]]

    def wait_for(self, flux_id: str, *states: str, seconds: float = 60) -> dict[str, object]:
        """Wait until a flux is in one of these states (or in an end state), and return it."""

        def reached() -> dict[str, object] | None:
            try:
                flux = self.flux(flux_id)
            except httpx.HTTPError:
                return None
            return flux if flux["state"] in {*states, *FINAL} else None

        return until(reached, seconds)

    def receipts(self) -> dict[str, int]:
        """Return how many times the local Hélios received each document, by SHA-256."""
        response = self.http.get(f"{self.ports.url('simulator')}/v1/receipts")
        response.raise_for_status()
        return dict(response.json()["counts"])

    def pid(self, program: str) -> int:
        """Return the process id of a program, 0 when it does not run."""
        states = self.supervisor.states() or []
        return next(one.pid for one in states if one.name == program)

    def kill(self, program: str) -> int:
        """Kill -9 a program, which its supervisor starts again; return the process id that it had, 0 for none."""
        if pid := self.pid(program):
            os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready(self, *services: str, seconds: float = 60) -> None:
        """Wait until services answer that they are ready."""
        for service in services:
            until(lambda name=service: self._is_ready(name), seconds)  # type: ignore[misc]

    def _is_ready(self, service: str) -> bool:
        try:
            return self.http.get(f"{self.ports.url(service)}/readyz").status_code == 200
        except httpx.TransportError:
            return False


def until(probe: Callable[[], T | None], seconds: float) -> T:
    """Return the first answer of `probe` that is something; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.02)
    return answer


def sample(number: int, **changes: object) -> bytes:
    """Return a PES that no other number gives."""
    return build_sample(SampleSpec(number=number, **changes))  # type: ignore[arg-type]


@contextmanager
def run_platform(
    root: Path, bus: str = "postgres", *, base: int | None = None, start: bool = True
) -> Iterator[RunningPlatform]:
    """Start a platform with the command line (or only prepare to), lend it, stop it; on its own ports by default."""
    base = base or port_block()
    env = {**os.environ, "HELIOTROPE_DATA": str(root), "HELIOTROPE_PORT_BASE": str(base)}
    running = RunningPlatform(DataFolder(root), Ports(base), env)
    with running.http:
        try:
            if start:
                _done(running.heliotrope("up", "--detach", "--bus", bus))
            yield running
        finally:
            _done(running.heliotrope("down"))


def _done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"

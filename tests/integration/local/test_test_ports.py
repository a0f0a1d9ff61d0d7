"""The ports of tests: nobody else on the machine takes them, be it another process that shares the run."""

import subprocess
import sys
from pathlib import Path

from local.ports import is_free
from tests.real import ports
from tests.real.ports import BLOCK, free_port, port_block

PROJECT = Path(__file__).parents[3]


def test_another_process_finds_other_ports() -> None:
    ours = port_block()
    program = (
        "import sys; from tests.real import ports\n"
        "ports.PORT_MIN, ports.PORT_MAX = int(sys.argv[1]), int(sys.argv[1]) + ports.BLOCK\n"
        "ports.port_block()"
    )
    argv = [sys.executable, "-c", program, str(ours)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert "No 100 free ports in a row" in done.stderr
    assert port_block() != ours


def test_free_ports_are_of_one_block_and_come_again_last() -> None:
    found = [free_port() for _ in range(BLOCK // 2)]
    assert len(set(found)) == len(found)
    assert len({port // BLOCK for port in found}) == 1
    assert all(map(is_free, found))
    assert ports.PORT_MIN <= min(found) <= max(found) < ports.PORT_MAX

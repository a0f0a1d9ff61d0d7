"""Each import contract of pyproject.toml refuses what it forbids: a copy of the code is made to do it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]


class Violation(NamedTuple):
    """An import that a module must not have; or, without one, a module that no layer expects."""

    contract: str
    path: str
    imports: str = ""


VIOLATIONS = [
    Violation("the house stands on its libraries", "local/ports.py", "agent.pages"),
    Violation("the house stands on its libraries", "signing/checks.py", "local.ports"),
    Violation("services never import each other", "services/ack/acquit.py", "services.gateway.names"),
    Violation("nobody but a service knows its inside", "cli/showing/french.py", "services.ack.acquit"),
    Violation("the libraries know no service, no database, no broker", "pes/units.py", "asyncpg"),
    Violation("the libraries know no service, no database, no broker", "signing/checks.py", "shared.errors"),
    Violation("what services agree on takes only words from the PES", "shared/errors.py", "pes.judge"),
    Violation("what services agree on takes only words from the PES", "shared/errors.py", "lxml"),
    Violation("rooms of what services agree on", "shared/errors.py", "shared.wording"),
    Violation("rooms of what services agree on", "shared/elsewhere.py"),
    Violation("deciding does no I/O", "services/ack/decide.py", "asyncio"),
    Violation("deciding does no I/O", "services/signature/mandates.py", "time"),  # which `decide` imports
    Violation("deciding does no I/O", "services/validation/rules.py", "time"),
    Violation("deciding does no I/O", "shared/facts/lifecycles/flux.py", "os"),
    Violation("imports point inwards", "services/ack/decide.py", "services.ack.handler"),
    Violation("imports point inwards", "services/ack/elsewhere.py"),
    Violation("routes stand in api.py", "services/ack/replies.py", "fastapi"),
    Violation("the PES is read, then judged", "pes/units.py", "pes.judge"),
    Violation("the PES is read, then judged", "pes/elsewhere.py"),
    Violation("a signature is read, verified, then vouched for", "signing/checks.py", "signing.trust"),
    Violation("a signature is read, verified, then vouched for", "signing/elsewhere.py"),
    Violation("a command asks and shows; other modules do", "cli/errors.py", "cli.main"),
    Violation("a command asks and shows; other modules do", "cli/elsewhere.py"),
    Violation("the agent shows what it signs", "agent/pairing.py", "agent.service"),
    Violation("the agent shows what it signs", "agent/elsewhere.py"),
    Violation("the local platform is made of parts, then started", "local/folder.py", "local.lifetime"),
    Violation("the local platform is made of parts, then started", "local/elsewhere.py"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lend a copy of the code, to be left as it was found."""
    folder = tmp_path_factory.mktemp("copy")
    for package in LINTER["root_packages"]:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.xsd"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def broken(folder: Path) -> set[str]:
    """Return the contracts that import-linter says are broken there."""
    linter = "from importlinter.cli import lint_imports_command as lint; lint(['--no-logo', '--cache-dir', '.cache'])"
    said = subprocess.run(
        [sys.executable, "-c", linter],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = dict(re.findall(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", said.stdout, re.MULTILINE))
    assert set(told) == {contract["name"] for contract in LINTER["contracts"]}, said.stdout + said.stderr
    assert (said.returncode == 0) == ("BROKEN" not in told.values())
    return {name for name, verdict in told.items() if verdict == "BROKEN"}


def test_no_contract_is_broken_by_the_code_as_it_is(copy: Path) -> None:
    assert broken(copy) == set()


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda one: f"{one.path} {one.imports}".strip())
def test_what_a_contract_forbids_breaks_it(copy: Path, violation: Violation) -> None:
    module = copy / violation.path
    before = module.read_bytes() if violation.imports else None
    try:
        module.write_bytes((before or b"") + f"\nimport {violation.imports or 'typing'}\n".encode())
        assert violation.contract in broken(copy)
    finally:
        module.write_bytes(before) if before is not None else module.unlink()


def test_every_contract_is_tried_and_every_exhaustive_one_with_a_module_too_many() -> None:
    assert {one.contract for one in VIOLATIONS} == {contract["name"] for contract in LINTER["contracts"]}
    exhaustive = {contract["name"] for contract in LINTER["contracts"] if contract.get("exhaustive")}
    assert {one.contract for one in VIOLATIONS if not one.imports} == exhaustive

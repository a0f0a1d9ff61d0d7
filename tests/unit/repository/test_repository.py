"""What the repository may not hold: binaries, secrets, paths of one machine, addresses of registries, data."""

import ast
import os
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from local.folder import NAME as DATA_FOLDER

ROOT = Path(__file__).parents[3]
GIT = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))  # whoever owns the clone
FILE_BYTES_MAX = 300_000
# Written so that this file does not hold what it looks for.
SECRETS = {
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE " + rb"KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "a token": re.compile(rb"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{15,}"),
    "a cloud key": re.compile(rb"\bAKIA[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}\b"),
    "a store's key": re.compile(rb"\bGK[0-9a-f]{24}\b"),
    "a password in an address": re.compile(rb"://\w+:(?!password@|hidden@)[A-Za-z0-9]{6,}@"),
}
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home|Users|work|root|mnt)/\w")
ADDRESS = re.compile(r"https?://|--(?:extra-)?index-url|--find-links|@ file:")


def files() -> list[Path]:
    """Return what is committed, or would be: everything that .gitignore does not keep out."""
    listed = subprocess.run(
        [*GIT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    return [path for name in listed.split(b"\0") if name and (path := ROOT / os.fsdecode(name)).is_file()]


IS_CLONE = (ROOT / ".git").exists()
FILES = files() if IS_CLONE else []
pytestmark = pytest.mark.skipif(not IS_CLONE, reason="this folder is not a clone: nothing says what is committed")


def test_the_repository_is_known() -> None:
    assert {ROOT / name for name in ("README.md", "LICENSE", "pyproject.toml", "requirements.txt")} <= set(FILES)


def test_no_file_is_a_binary_or_large() -> None:
    for path in FILES:
        content = path.read_bytes()
        assert b"\0" not in content, path
        assert len(content) <= FILE_BYTES_MAX, path


@pytest.mark.parametrize("kind", SECRETS)
def test_no_file_holds_a_secret(kind: str) -> None:
    assert [path for path in FILES if SECRETS[kind].search(path.read_bytes())] == []


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("a private key", b"-----BEGIN RSA PRIVATE " + b"KEY-----\n" + b"A" * 64),
        ("a token", b"eyJ" + b"a" * 20 + b".eyJ" + b"b" * 20 + b"." + b"c" * 20),
        ("a cloud key", b"AKIA" + b"A" * 16),
        ("a store's key", b"GK" + b"0" * 24),
        ("a password in an address", b"postgresql://owner:" + b"x7k2p9" + b"@db"),
    ],
)
def test_a_secret_would_be_found(kind: str, secret: bytes) -> None:
    assert SECRETS[kind].search(b"before " + secret + b" after")


def test_no_file_holds_a_path_of_one_machine() -> None:
    for path in FILES:
        assert not MACHINE_PATHS.search(path.read_bytes().decode("utf-8", "replace")), path


def test_requirements_are_pinned_hashed_and_name_no_registry() -> None:
    text = (ROOT / "requirements.txt").read_text("utf-8")
    assert not ADDRESS.search(text)
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_requirements_hold_every_package_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pinned = set(
        re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert {re.split(r"[\[>=<;! ]", one)[0].lower().replace("_", "-") for one in asked} <= pinned


@pytest.mark.parametrize(
    "name",
    [
        f"{DATA_FOLDER}/keys/operator.token",
        f"{DATA_FOLDER}/postgres/data/PG_VERSION",
        f"{DATA_FOLDER}/kafka/lib/kafka.jar",
        ".venv/bin/python",
        ".env",
        "bench.json",
        "shared/__pycache__/events.cpython-311.pyc",
    ],
)
def test_what_the_platform_writes_is_never_committed(name: str) -> None:
    asked = subprocess.run([*GIT, "check-ignore", "--quiet", "--no-index", name], check=False)
    assert asked.returncode == 0


def test_every_package_says_in_a_sentence_what_it_is() -> None:
    modules = [path for path in FILES if path.suffix == ".py"]
    for path in {module.with_name("__init__.py") for module in modules}:
        assert path in FILES, path
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


@pytest.mark.parametrize("name", [".ci/run", "deploy/postgres/roles.sh"])
def test_a_script_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    assert (ROOT / name).read_bytes().startswith(b"#!")


def test_the_licence_is_the_one_that_the_project_states() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "EUPL-1.2"
    assert "EUROPEAN UNION PUBLIC LICENCE v. 1.2" in (ROOT / "LICENSE").read_text("utf-8")


# --- Layout ------------------------------------------------------------------------------------------------------

MODULES_MAX = 16  # of a folder: a reader knows from its name what may be added there


def test_every_package_stands_under_the_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    packages = {path.parts[0] for path in (one.relative_to(ROOT) for one in FILES) if path.name == "__init__.py"}
    assert packages - {"tests"} == set(contracts["root_packages"])


def test_no_folder_of_code_holds_more_modules_than_one_can_know() -> None:
    modules = [path.relative_to(ROOT) for path in FILES if path.suffix == ".py" and path.name != "__init__.py"]
    counted = Counter(path.parent for path in modules if path.parts[0] != "tests")
    assert {folder: count for folder, count in counted.items() if count > MODULES_MAX} == {}


def test_every_step_of_the_schema_has_a_number_of_its_own() -> None:
    numbers = Counter(path.name[:3] for path in FILES if path.suffix == ".sql" and "before_streams" not in path.parts)
    assert [number for number, count in numbers.items() if count > 1] == []

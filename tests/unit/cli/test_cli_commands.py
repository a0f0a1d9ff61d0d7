"""How commands are called, and how they end: exit codes, French mistakes, JSON and nothing else with `--json`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typer.testing import CliRunner

from cli.client_config import read_client_config
from cli.errors import UnreachableError
from cli.infrastructure import find_infrastructure
from cli.main import app
from cli.options import moment_of
from cli.uploads import keys_of
from local.client_file import write_client_config
from local.folder import DataFolder
from local.keys.tokens import ISSUER, ensure_keys
from local.ports import Ports
from shared.web.auth import Caller, Right, Role
from shared.web.keys import token_checker

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOTROPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", "1100")  # nobody listens there
    for name in ("HELIOTROPE_TOKEN", "HELIOTROPE_COLLECTIVITE", "DATABASE_URL", "KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(name, raising=False)


def commands(group: typer.Typer, path: tuple[str, ...] = (), *, with_groups: bool = True) -> list[tuple[str, ...]]:
    """Return every command, as one types it."""
    found = [path] if with_groups else []
    for command in group.registered_commands:
        assert command.callback is not None
        found.append((*path, command.name or command.callback.__name__))
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        found += commands(sub.typer_instance, (*path, str(sub.name)), with_groups=with_groups)
    return found


@pytest.mark.parametrize("command", commands(app), ids=" ".join)
def test_every_command_has_a_french_help(command: tuple[str, ...]) -> None:
    shown = RUNNER.invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Affiche cette aide." in shown.stdout
    assert "Show this message" not in shown.stdout


@pytest.mark.parametrize("command", commands(app, with_groups=False), ids=" ".join)
def test_every_command_can_answer_in_json(command: tuple[str, ...]) -> None:
    assert "--json" in RUNNER.invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flux", "show"], "il manque"),
        (["flux", "list", "--state", "perdu"], "ne convient pas"),
        (["flux", "list", "--colour"], "l’option --colour n’existe pas"),
        (["perdu"], "la commande « perdu » n’existe pas"),
        (["flux", "list", "--limit", "x"], "un nombre entier est attendu"),
        (["flux", "list", "--limit", "0"], "le minimum est 1"),
        (["flux", "list", "--limit", "1000"], "le maximum est 500"),
        (["flux", "list", "--limit"], "demande une valeur"),
        (["flux", "list", "--json=1"], "ne prend pas de valeur"),
        (["flux", "wait", "a", "--timeout", "x"], "un nombre est attendu"),
        (["flux", "show", "a", "b"], "« b » est de trop"),
        (["up", "--bus", "rabbit"], "ne convient pas"),
        (["flux", "show", "x", "--at", "hier"], "Instant illisible"),
        (["token", "camille", "--role", "signataire"], "Rôle mal écrit"),
        (["token", "camille", "--role", "maire@213499908"], "Rôle mal écrit"),
        (["token", "camille", "--role", "signataire@21349990"], "Rôle mal écrit"),
        (["bus", "parked", "release", "a"], "il manque"),
        (["bus", "parked", "release", "--reason", "corrigé"], "Messages à préciser"),
        (["collectivites", "identifiers", "add"], "il manque"),
        (["bus", "parked", "release", "a", "--all", "--reason", "corrigé"], "Messages à préciser"),
        (["bus", "parked", "release", "a", "--reason", " "], "Motif à préciser"),
    ],
)
def test_a_command_that_is_badly_written_ends_with_2_and_says_why_in_french(arguments: list[str], said: str) -> None:
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["flux", "list"],
        ["flux", "show", "x"],
        ["flux", "events", "x"],
        ["flux", "wait", "x", "--timeout", "0"],
        ["flux", "send", "x"],
        ["flux", "cancel", "x", "--reason", "erreur"],
        ["flux", "import", __file__],
        ["bus", "parked", "list"],
        ["bus", "parked", "release", "--all", "--reason", "corrigé"],
        ["db", "migrate"],
        ["projections", "list"],
        ["projections", "rebuild"],
        ["topics", "create"],
    ],
    ids=" ".join,
)
def test_without_a_platform_a_command_ends_with_3_and_json_says_so_too(arguments: list[str]) -> None:
    done = RUNNER.invoke(app, [*arguments, "--json"])
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["type"] == "urn:heliotrope:problem:unreachable"
    assert "make up" in document["detail"]


def test_a_token_says_which_role_in_which_collectivite(tmp_path: Path) -> None:
    held = ("signataire@213499908", "administrateur@213499908", "auditeur@*")
    done = RUNNER.invoke(app, ["token", "camille", *(f"--role={one}" for one in held), "--json"])
    ensure_keys(DataFolder(tmp_path / "data"), datetime.now(UTC))
    checker = token_checker(DataFolder(tmp_path / "data").jwks_file, ISSUER, lambda: 0.0)
    assert checker.check(json.loads(done.stdout)["token"]) == Caller(
        "camille",
        {"213499908": frozenset({Role.SIGNATAIRE, Role.ADMINISTRATEUR}), "*": frozenset({Role.AUDITEUR})},
    )


def test_a_token_of_the_operator_that_an_older_version_wrote_is_made_again(tmp_path: Path) -> None:
    folder, now = DataFolder(tmp_path / "data"), datetime.now(UTC)
    folder.make()
    ensure_keys(folder, now)
    good = folder.token_file.read_text("ascii")
    ensure_keys(folder, now)
    assert folder.token_file.read_text("ascii") == good
    claims = jwt.decode(good, options={"verify_signature": False})
    key = load_pem_private_key((folder.keys / "token-signing.pem").read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    old = jwt.encode({**claims, "roles": ["operateur"], "collectivites": ["*"]}, key, algorithm="EdDSA")
    folder.token_file.write_text(old, "ascii")
    ensure_keys(folder, now)
    checker = token_checker(folder.jwks_file, ISSUER, lambda: 0.0)
    assert checker.check(folder.token_file.read_text("ascii")).may(Right.OPERATE, "*")


def test_a_known_platform_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    folder.token_file.write_text("token", "ascii")
    write_client_config(folder, Ports(1100), collectivite="213499908")
    done = RUNNER.invoke(app, ["flux", "list"])
    assert done.exit_code == 3
    assert "Plateforme injoignable" in done.stderr


def test_the_demonstration_starts_nothing_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["demo", "--once", "--file", str(tmp_path / "absent.xml")])
    assert done.exit_code == 1
    assert "Fichier illisible" in done.stderr
    assert not (tmp_path / "data").exists()


def test_stopping_what_does_not_run_is_no_error() -> None:
    done = RUNNER.invoke(app, ["down", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["stopped"] is False


def test_the_environment_tells_where_a_remote_platform_is() -> None:
    config = read_client_config(
        {"HELIOTROPE_TOKEN": "t", "HELIOTROPE_INGEST_URL": "https://pes.example/", "HELIOTROPE_DATA": "/nowhere"}
    )
    assert config.token == "t"
    assert config.urls["ingest"] == "https://pes.example"


def test_the_environment_tells_where_a_remote_database_is() -> None:
    infrastructure = find_infrastructure(
        {"DATABASE_URL": "postgresql://h/d", "BUS": "kafka", "KAFKA_BOOTSTRAP": "k:9092"}
    )
    assert (infrastructure.bus, infrastructure.kafka_bootstrap) == ("kafka", "k:9092")


def test_without_anything_nobody_knows_who_we_are() -> None:
    with pytest.raises(UnreachableError, match="HELIOTROPE_TOKEN"):
        read_client_config({"HELIOTROPE_DATA": "/nowhere"})


def test_a_moment_without_a_zone_is_one_of_the_screens() -> None:
    assert moment_of("2026-07-14T10:00").isoformat() == "2026-07-14T10:00:00+02:00"
    assert moment_of("2026-07-14T10:00:00Z").isoformat() == "2026-07-14T10:00:00+00:00"


def test_each_file_of_one_import_has_a_key_of_its_own() -> None:
    assert keys_of("", 2) == ["", ""]
    assert keys_of("k", 1) == ["k"]
    assert keys_of("k", 2) == ["k#1", "k#2"]

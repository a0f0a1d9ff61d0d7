"""The command that starts the agent."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.commands.sending.agent import origin_of
from cli.errors import UsageProblemError
from cli.main import app as command_line
from tests.unit.agent.stage import PORTAL


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Portail.Exemple.fr/", "https://portail.exemple.fr"),
        ("https://portail.exemple.fr:443", "https://portail.exemple.fr"),
        ("https://portail.exemple.fr:8443", "https://portail.exemple.fr:8443"),
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8400", "http://[::1]:8400"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "*",
        "null",
        "portail.exemple.fr",
        "https://",
        "https://*.exemple.fr",
        "https://portail.exemple.fr/page",
        "https://portail.exemple.fr?x",
        "https://a@portail.exemple.fr",
        "https://portail.exemple.fr:port",
        "ftp://portail.exemple.fr",
        "http://portail.exemple.fr",
    ],
)
def test_what_is_no_safe_origin_is_refused(url: str) -> None:
    with pytest.raises(UsageProblemError):
        origin_of(url)


def test_the_agent_needs_a_portal_and_a_key(tmp_path: Path) -> None:
    for options in ([], ["--origin", PORTAL], ["--origin", "*", "--p12", "k.p12", "--password-file", "p"]):
        assert CliRunner().invoke(command_line, ["agent", *options]).exit_code == 2
    absent = ["--p12", str(tmp_path / "absent.p12"), "--password-file", str(tmp_path / "absent")]
    done = CliRunner().invoke(command_line, ["agent", "--port", "0", "--origin", PORTAL, *absent, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["title"] == "Clé inutilisable"

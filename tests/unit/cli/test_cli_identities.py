"""What the command line reads in a file of the collectivité it names, and how identifiers are typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.identities import named_in
from cli.main import app
from pes.sample import SampleSpec, build_sample
from tests.identities import named_in as named_in_sample

RUNNER = CliRunner()
ADD = ["collectivites", "identifiers", "add", "--collectivite", "213499908", "--reason", "Adhésion"]


def test_what_a_file_names_is_read_from_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pes.xml"
    spec = SampleSpec(cod_bud="A1", id_post="02A123")
    path.write_bytes(build_sample(spec))
    assert tuple(named_in(path)) == named_in_sample(spec)


@pytest.mark.parametrize("content", [b"", b"<PES_Aller/>", b'<IdColl V="12"/>'])
def test_a_file_that_names_nobody_is_left_to_its_judgement(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pes.xml"
    path.write_bytes(content)
    assert named_in(path) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "Identifiants à préciser"),
        (["0193", "--seen"], "Identifiants à préciser"),
        (["--seen", "--siret", "21349990800019"], "Identifiants à préciser"),
        (["--siret", "2134"], "Identifiant mal écrit"),
        (["--budget", "034990/123"], "Identifiant mal écrit"),
        (["--budget", "34990/123/00"], "Identifiant mal écrit"),
    ],
    ids=" ".join,
)
def test_identifiers_that_are_badly_written_end_the_command_with_2(given: list[str], said: str) -> None:
    done = RUNNER.invoke(app, [*ADD, *given], env={"HELIOTROPE_TOKEN": "x"})
    assert (done.exit_code, said in done.stderr) == (2, True)

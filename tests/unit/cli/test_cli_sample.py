"""`heliotrope sample`: a PES to try with."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from signing.outline import targets


@pytest.mark.parametrize(("depenses", "recettes"), [(1, 0), (2, 3)])
def test_a_sample_can_be_signed_and_names_its_collectivite(tmp_path: Path, depenses: int, recettes: int) -> None:
    path = tmp_path / "pes.xml"
    words = ["sample", "-o", str(path), "--depenses", str(depenses), "--recettes", str(recettes), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["collectivite"] == "213499908"
    found = targets(path.read_bytes())
    assert [one.domain for one in found] == ["depense"] * depenses + ["recette"] * recettes


def test_a_sample_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pes.xml"
    path.write_text("mine")
    assert CliRunner().invoke(app, ["sample", "-o", str(path)]).exit_code == 1
    assert path.read_text() == "mine"

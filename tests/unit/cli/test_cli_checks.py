"""Checking files with the command line, with nothing running: verdicts, exit codes, JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from pes.schemas.packs import PackFiles, built_in
from tests.bad_input import GOOD
from tests.judging import changed_sample, replacing

BAD = changed_sample(replacing('(?<=<TypPce V=")01', "99"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, content in {"good.xml": GOOD, "bad.xml": BAD, "cut.xml": GOOD[:900]}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(*arguments: object) -> tuple[int, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], env={"HELIOTROPE_DATA": "/nowhere"})
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("names", "code", "verdicts"),
    [
        (["good.xml"], 0, ["valid"]),
        (["bad.xml"], 1, ["invalid"]),
        (["cut.xml"], 2, ["unreadable"]),
        (["absent.xml"], 2, ["unreadable"]),
        (["good.xml", "bad.xml"], 1, ["valid", "invalid"]),
        (["bad.xml", "cut.xml", "good.xml"], 2, ["invalid", "unreadable", "valid"]),
    ],
)
def test_the_worst_verdict_is_the_exit_code(files: Path, names: list[str], code: int, verdicts: list[str]) -> None:
    exit_code, told = run("check", *(files / name for name in names))
    assert (exit_code, [one["verdict"] for one in told]) == (code, verdicts)
    assert [one["file"] for one in told] == [str(files / name) for name in names]


def test_a_check_tells_the_pack_the_header_and_findings_with_all_that_they_need(files: Path) -> None:
    _, (told,) = run("check", files / "bad.xml")
    assert told["pack"] == built_in().pack_id
    assert told["header"]["cod_col"] == "123"
    (finding,) = told["findings"]
    assert {"source", "code", "severity", "message", "where", "who", "next"} <= set(finding)
    assert {"bordereau", "piece", "ligne", "xpath", "line", "column"} <= set(finding["where"])


def test_a_large_file_is_judged_in_a_process_of_its_own_with_the_same_verdict(tmp_path: Path) -> None:
    (tmp_path / "large.xml").write_bytes(changed_sample(pieces_per_bordereau=400, pj_per_piece=0))
    assert run("check", tmp_path / "large.xml")[1][0]["verdict"] == "valid"


def test_another_pack_may_judge(files: Path) -> None:
    stricter = {path: content.replace(b'"03"', b'"93"') for path, content in built_in().files.items()}
    (files / "stricter.zip").write_bytes(PackFiles("x", stricter).archive())
    for command in (("check",), ("schemas", "check")):
        code, told = run(*command, files / "good.xml", "--pack", files / "stricter.zip")
        told = told[0] if isinstance(told, list) else told
        assert (code, told["verdict"], told["pack"]) == (1, "invalid", "stricter")


@pytest.mark.parametrize("pack", ["/nowhere/pack.zip", "."])
def test_what_is_no_pack_is_a_mistake_of_the_caller(files: Path, pack: str) -> None:
    code, told = run("check", files / "good.xml", "--pack", files / "cut.xml" if pack == "." else pack)
    assert (code, bool(told["title"])) == (2, True)


def test_a_pack_with_a_file_missing_is_told(tmp_path: Path, files: Path) -> None:
    for path, content in built_in().files.items():
        if path != "commun.xsd":
            (tmp_path / path).write_bytes(content)
    code, told = run("check", files / "good.xml", "--pack", tmp_path)
    assert (code, told["title"]) == (2, "Ce n’est pas un pack de schémas")


def test_a_synthese_and_a_difference_are_json(files: Path) -> None:
    code, told = run("synthese", files / "good.xml")
    assert (code, told["pieces_total"], len(told["pieces"])) == (0, 2, 2)
    assert run("diff", files / "good.xml", files / "good.xml")[0] == 0
    code, told = run("diff", files / "good.xml", files / "bad.xml")
    assert (code, len(told["changed"])) == (1, 1)
    assert run("synthese", files / "cut.xml")[0] == 2

"""Following one flux through the technical logs: which lines are its own, in order, whatever else the files hold."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.main import app
from cli.showing.lines import table_of, told_of

FLUX, OTHER = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
CORRELATION, OTHERS = "01890a5d-0000-774b-bcce-b302099a8057", "01890a5d-0000-774b-bcce-b302099a8058"


def line(second: int, event: str, service: str = "ingest", **fields: object) -> str:
    at = f"2026-02-02T12:00:{second:02}.123456Z"
    return json.dumps({"at": at, "level": "info", "service": service, "event": event, **fields})


POSTED = line(2, "request.answered", correlation_id=CORRELATION, method="POST", path="/v1/flux", status=202)
IMPORTED = line(1, "fact.recorded", flux_id=FLUX, correlation_id=CORRELATION, kind="flux.imported.v1")
HANDLED = line(3, "message.handled", "validation", flux_id=FLUX, correlation_id=CORRELATION, duration_seconds=0.25)
READ = line(4, "request.answered", "history", flux_id=FLUX, correlation_id=OTHERS, method="GET", status=200)
CONFLICT = line(5, "request.conflict", "gateway", reason=f"stream {FLUX} is no longer at version 3")
ASIDE = line(6, "gateway.set_aside", "gateway", set_aside_flux_id=FLUX, level="warning")
FOREIGN = line(1, "fact.recorded", flux_id=OTHER, correlation_id=OTHERS, kind="flux.imported.v1")
UNRELATED = line(1, "service.started", port=8401)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HELIOTROPE_DATA", str(tmp_path))
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Lend what writes lines into a file, and says which."""

    def write(*lines: str) -> str:
        (tmp_path / "all.log").write_text("\n".join(lines))
        return str(tmp_path / "all.log")

    return write


def logs(*arguments: str, given: bytes | str | None = None) -> Result:
    return CliRunner().invoke(app, ["logs", *arguments], input=given, env={"COLUMNS": "200"})


def events(done: Result) -> list[str]:
    return [json.loads(one)["event"] for one in done.stdout.splitlines()]


def test_the_lines_of_all_services_and_of_rotated_files_are_told_in_the_order_of_time(folder: Path) -> None:
    (folder / "validation.log").write_text(f"{HANDLED}\n{UNRELATED}\n")
    (folder / "ingest.log").write_text(f"{POSTED}\n{FOREIGN}\n")
    (folder / "ingest.log.1").write_text(f"{IMPORTED}\n")
    (folder / "supervisord.out").write_text(f"not a log {FLUX}\n")

    done = logs(FLUX, "--json")

    assert done.exit_code == 0
    assert events(done) == ["fact.recorded", "request.answered", "message.handled"]


def test_a_line_is_of_a_flux_that_it_names_wherever_or_by_its_correlation_id(
    written: Callable[..., str],
) -> None:
    file = written(POSTED, READ, ASIDE, CONFLICT, FOREIGN, IMPORTED, UNRELATED)
    told = events(logs(FLUX, file, "--json"))
    assert told[:3] == ["fact.recorded", "request.answered", "request.answered"]
    assert told[3:] == ["request.conflict", "gateway.set_aside"]


def test_what_a_reader_of_one_flux_asks_besides_is_not_of_that_flux(written: Callable[..., str]) -> None:
    file = written(READ, line(5, "request.answered", correlation_id=OTHERS, flux_id=OTHER))
    assert len(events(logs(FLUX, file, "--json"))) == 1


def test_the_standard_input_is_read_and_what_docker_puts_in_front_is_passed_over() -> None:
    given = f"ingest-1  | {IMPORTED}\nvalidation-1  | {HANDLED}\nproxy-1  | GET /\n"
    done = logs(FLUX, "-", "--json", given=given)
    assert events(done) == ["fact.recorded", "message.handled"]


def test_what_is_no_line_of_a_log_is_passed_over_and_counted_where_it_names_the_flux(tmp_path: Path) -> None:
    file = tmp_path / "all"
    flux = FLUX.encode()
    odd = [
        b"",
        b"\0\xff\xfe",
        b"Traceback (most recent call last):",
        b"{" * 5000,
        b"a word about " + flux,
        b'{"flux_id": "' + flux + b'"}',
        b'["' + flux + b'"]',
        b'{"at": "yesterday", "flux_id": "' + flux + b'"}',
        b'{"at": 3, "flux_id": "' + flux,
        IMPORTED.encode().replace(b"ingest", b"ing\xe9st"),
    ]
    file.write_bytes(b"\r\n".join(odd))
    done = logs(FLUX, str(file), "--json")
    assert events(done) == ["fact.recorded"]
    assert "du journal d’un service, ignorées : 5." in done.stderr


def test_the_table_fits_eighty_columns_and_says_everything(written: Callable[..., str]) -> None:
    failed = line(6, "service.failed", "gateway", flux_id=FLUX, level="critical", error="Trace\n\nKeyError: 'a bug'")
    file = written(POSTED, IMPORTED, HANDLED, READ, ASIDE, failed)
    with Path(file).open("rb") as opened:
        told = told_of(FLUX, [opened])
    console = Console(width=80, record=True, file=StringIO())
    console.print(table_of(told.lines, title=f"Flux {FLUX}"))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    for said in (
        "13:00:01,123",
        "validation",
        "fait enregistré",
        "250 ms",
        "flux.imported.v1",
        "critical",
        "KeyError",
    ):
        assert said in shown, said


def test_who_only_looked_is_counted_beside_the_table(written: Callable[..., str]) -> None:
    refused = line(6, "request.answered", "history", flux_id=FLUX, method="GET", status=503)
    file = written(IMPORTED, READ, refused)
    done = logs(FLUX, file)
    assert "status=200" not in done.stdout
    assert "status=503" in done.stdout
    assert "--json montre : 1." in done.stderr
    assert len(events(logs(FLUX, file, "--json"))) == 3


def test_what_a_line_holds_never_commands_the_terminal(written: Callable[..., str]) -> None:
    file = written(line(1, "message.parked", flux_id=FLUX, reason="\x1b[2J"))
    assert "\x1b[2J" not in logs(FLUX, file).stdout


def test_the_trace_of_the_flux_is_named(written: Callable[..., str]) -> None:
    file = written(IMPORTED, READ)
    said = logs(FLUX, file).stderr
    assert CORRELATION in said
    assert OTHERS not in said


@pytest.mark.parametrize("content", [None, b""])
def test_an_empty_folder_is_said_with_what_to_do(folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / "ingest.log").write_bytes(content)
    done = logs(FLUX, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["title"] == "Aucun journal technique"
    assert "make up" in done.stderr
    assert "docker compose logs" in done.stderr


def test_a_flux_that_no_line_names_is_said(folder: Path) -> None:
    (folder / "ingest.log").write_text(FOREIGN)
    done = logs(FLUX)
    assert done.exit_code == 1
    assert "Aucune ligne sur ce flux" in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = logs(FLUX, str(tmp_path / "absent.log"))
    assert done.exit_code == 1
    assert "absent.log" in done.stderr
    assert "il n’existe pas" in done.stderr


def test_what_is_no_identifier_is_a_mistake(tmp_path: Path) -> None:
    assert logs("PESALR2", str(tmp_path)).exit_code == 2
    assert logs(FLUX, "-", "-", given="").exit_code == 2

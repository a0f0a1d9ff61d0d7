"""What the documents say is there: links, names in the code, commands, targets, variables, metrics, problems."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from cli.main import app
from local.ports import SERVICES
from pes.controls import table as list_of_controls
from shared.facts import diagram as life_of_a_flux
from shared.facts.lifecycles.flux import TRANSITIONS, State
from shared.facts.recorders import RECORDED_BY
from shared.facts.streams import ALL_FACTS
from shared.web.openapi import answered_by
from signing import table as list_of_signature_checks
from tests.applications import documents

ROOT = Path(__file__).parents[3]
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
CODE_FOLDERS = ("pes", "signing", "shared", "services", "agent", "local", "cli", "tests", "deploy")
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def quoted(name: str) -> Iterator[str]:
    """Yield what stands between backquotes, outside blocks of code."""
    yield from (found[1] for found in CODE.finditer(FENCE.sub("", text_of(name))))


def anchor_of(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


@cache
def words_of_the_code() -> frozenset[str]:
    """Return every word of the code, of what is deployed and of the settings."""
    suffixes = {".py", ".sql", ".toml", ".yml", ".sh"}
    files = [path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    files += [ROOT / name for name in ("pyproject.toml", "docker-compose.yml", ".env.example", "Makefile")]
    return frozenset(word for path in files for word in re.findall(r"[\w-]+", path.read_text("utf-8")))


# --- Links and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in LINK.findall(text_of(name)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        reached = (ROOT / name).parent / path if path else ROOT / name
        assert reached.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", reached.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(anchor_of, headings), target


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name: str) -> None:
    for said in quoted(name):
        path = said.rstrip("/")
        if re.fullmatch(rf"(?:{'|'.join(CODE_FOLDERS)}|docs)(?:/[\w.\-]+)+", path) and "NNNN" not in path:
            assert (ROOT / path).exists(), said


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_code_that_is_quoted_is_in_the_code(name: str) -> None:
    """A class, a constant, a variable of the environment, a name with underscores, a metric, a reason of refusal."""
    shape = re.compile(r"(?:[A-Z][a-z]+){2,}|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z]+(?:_[a-z]+)+|[a-z]+(?:-[a-z]+)+")
    for said in quoted(name):
        word = said.split("=")[0]
        if shape.fullmatch(word):
            assert {word, word.lower()} & words_of_the_code(), word  # settings are fields, in lower case


def test_every_document_that_is_cited_is_in_the_repository() -> None:
    """In the documents as in the code, whoever cites a page cites one that is here."""
    here = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if ".venv" not in path.parts]
    cited = {
        found
        for path in [*DOCUMENTS, *(path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py"))]
        for found in re.findall(r"(?<![\w/.-])(?:\.\./)*((?:[\w-]+/)*[\w-]+\.md)\b", path.read_text("utf-8"))
    } - {"docs/decisions/NNNN-title.md"}
    assert [name for name in sorted(cited) if not any(f"/{path}".endswith(f"/{name}") for path in here)] == []


def test_every_paragraph_that_is_cited_of_what_we_know_of_helios_is_there() -> None:
    page = text_of("docs/helios.md")
    there = set(re.findall(r"^(?:## |\| )(\d+(?:\.\d+)?)", page, re.MULTILINE))
    cited = {
        number
        for path in [*DOCUMENTS, *(path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py"))]
        for found in re.findall(r"helios\.md`* (\d[\d., ]*)", path.read_text("utf-8"))
        for number in re.findall(r"\d+(?:\.\d+)?", found)
    }
    assert cited - there == set()
    assert there


def test_the_architecture_names_every_service_with_what_it_records() -> None:
    text = text_of("docs/architecture.md")
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` \| \d{4}.*$", text, re.MULTILINE)}
    assert list(rows) == list(SERVICES)
    for service, row in rows.items():
        said = set(re.findall(r"[A-Z]\w+", row.split("|")[4])) - {"Kafka", "DGFiP"}
        assert said == {fact.__name__ for fact in RECORDED_BY.get(service, ())}, service


def test_every_fact_is_recorded_by_somebody() -> None:
    assert {fact for facts in RECORDED_BY.values() for fact in facts} == set(ALL_FACTS)


def test_the_glossary_has_one_sorted_line_for_each_word() -> None:
    words = re.findall(r"^\| ([^|]+) \|", text_of("docs/glossary.md"), re.MULTILINE)[1:]
    plain = [word.strip("*").casefold().replace("é", "e").replace("è", "e") for word in words if word != "---"]
    assert plain == sorted(set(plain))


# --- The lifecycle -----------------------------------------------------------------------------------------------


def test_the_lifecycle_in_the_documents_is_printed_from_the_table() -> None:
    assert text_of("docs/life-of-a-flux.md").endswith("\n\n" + life_of_a_flux.document()), (
        "put what `python -m shared.facts.diagram` prints at the end of docs/life-of-a-flux.md"
    )


def test_the_controls_in_the_documents_are_printed_from_the_list() -> None:
    assert text_of("docs/controls.md").endswith("\n\n" + list_of_controls.document()), (
        "put what `python -m pes.controls.table` prints at the end of docs/controls.md"
    )
    assert text_of("docs/signature.md").endswith("\n\n" + list_of_signature_checks.document()), (
        "put what `python -m signing.table` prints at the end of docs/signature.md"
    )


def test_what_is_printed_tells_every_state_and_every_transition() -> None:
    printed = life_of_a_flux.document()
    for source, facts in TRANSITIONS.items():
        for fact, target in facts.items():
            line = rf"^    {re.escape(source or life_of_a_flux.START)} --> {target}: .*\b{fact.__name__}\b"
            assert re.search(line, printed, re.MULTILINE), (source, fact)
    assert all(f"| `{state}` |" in printed for state in State)
    assert "imported --> ready: FluxValidated (no signature required)" in printed


def test_the_life_of_a_flux_has_nine_steps() -> None:
    steps = re.findall(r"^(\d)\. \*\*", text_of("docs/life-of-a-flux.md"), re.MULTILINE)
    assert steps == list("123456789")


# --- Decisions ---------------------------------------------------------------------------------------------------


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    pages = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [page[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.*) \|$", text_of("docs/decisions/README.md"), re.MULTILINE)
    assert [(number, target) for number, target, _ in listed] == [(page[:4], page) for page in pages]
    for number, target, title in listed:
        assert (DECISIONS / target).read_text("utf-8").startswith(f"# {number}. {title}\n")


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda page: page.stem)
def test_a_decision_says_why_what_and_at_what_cost(page: Path) -> None:
    said = re.findall(r"^\*\*(\w+)\.\*\*", page.read_text("utf-8"), re.MULTILINE)
    assert said == ["Context", "Decision", "Costs"]


# --- Commands ----------------------------------------------------------------------------------------------------


def commands_in(name: str) -> Iterator[list[str]]:
    for said in [*quoted(name), *text_of(name).splitlines()]:
        found = re.match(r"(?:\S*/)?heliotrope ([a-z].*)", said.replace("\u2026", "").strip())
        if found:
            yield shlex.split(re.split(r" +#|[|;]", found[1])[0])


def commands(group: typer.Typer = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command, as one types it."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*path, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, (*path, str(inner.name)))


def named_by(words: list[str]) -> tuple[str, ...]:
    """Return the command that words begin with."""
    found = [path for path in commands() if tuple(words[: len(path)]) == path]
    assert len(found) == 1, words
    return found[0]


@cache
def help_of(path: tuple[str, ...]) -> str:
    return CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_shown_exists_with_its_options(name: str) -> None:
    for words in commands_in(name):
        known = set(re.findall(r"--[a-z0-9-]+", help_of(named_by(words))))
        assert {word for word in words if word.startswith("--")} <= known, words


def test_the_readme_shows_every_command() -> None:
    assert {named_by(words) for words in commands_in("README.md")} == set(commands())


def shown_by(name: str) -> list[tuple[tuple[str, ...], frozenset[str]]]:
    """Return every command that a document shows, with its options, in order."""
    return [(named_by(words), frozenset(re.findall(r"--[a-z0-9-]+", " ".join(words)))) for words in commands_in(name)]


def test_both_readmes_show_the_same_commands_options_settings_and_links() -> None:
    english, french = "README.md", "README.fr.md"
    assert shown_by(french) == shown_by(english)
    assert [LINK.findall(text_of(name))[0] for name in (english, french)] == [french, english]
    assert LINK.findall(text_of(french))[1:] == LINK.findall(text_of(english))[1:]
    for shape in (r"make [a-z]+(?: [A-Z]+=)?", r"--[a-z][a-z0-9-]*", r"HELIOTROPE_[A-Z_]+", r"`[a-z]+/`", r"^##? "):
        found = [re.findall(shape, text_of(name), re.MULTILINE) for name in (english, french)]
        assert found[0] == found[1], shape
    assert text_of(french).count("\n|") == text_of(english).count("\n|")


@pytest.mark.parametrize("name", NAMES)
def test_every_target_that_is_shown_is_in_the_makefile(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", text_of("Makefile"), re.MULTILINE))
    said = {
        found
        for text in [*quoted(name), *text_of(name).splitlines()]
        for found in re.findall(r"^make ([a-z]+)", text)
    }
    assert said <= targets


# --- Operations and HTTP -----------------------------------------------------------------------------------------


def test_the_operations_manual_explains_every_alert_and_every_metric() -> None:
    text = text_of("docs/operations.md")
    groups = yaml.safe_load(text_of("deploy/prometheus/alerts.yml"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert set(re.findall(r"^\| ([A-Z]\w+) \|", text, re.MULTILINE)) == alerts
    metrics = set(re.findall(r'"(heliotrope_\w+)"', text_of("shared/metrics.py")))
    assert set(re.findall(r"^\| `(heliotrope_\w+)` \|", text, re.MULTILINE)) == metrics


def test_every_route_is_documented_and_every_one_that_is_documented_exists() -> None:
    text = text_of("docs/http.md")
    said = set(re.findall(r"`([A-Z]+) (/v1/[^`?]*)", text))
    said |= {("GET", path) for path in re.findall(r"curl -H \S+ ['\"]?http://[\d.:]+(/v1/[^?'\"\s]*)", text)}
    exist = {(method, re.sub(r"\{\w+_id\}", "{id}", path)) for method, path in answered_by(documents())}
    assert {(method, path.replace("$ID", "{id}")) for method, path in said} == exist

"""What people read is in French, with one word for each thing; the words are those of docs/glossary.md."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from cli.main import app

ROOT = Path(__file__).parents[3]
CODE = ("pes", "signing", "shared", "services", "agent", "local", "cli")
DOCUMENTS = ("README.fr.md", "docs/operations.md", "docs/controls.md", "docs/signature.md")
QUOTED = re.compile(r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
ELISION = r"(?<![\w'])(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu|aujourd)'(?=[\wÀ-ÿ«{\"…])"
IN_LATIN_1 = {"pes/sample.py"}  # a PES is ISO-8859-1, which has no typographic apostrophe
REFUSED = {
    "a straight apostrophe": f"(?i:{ELISION})",
    "a plural between brackets": r"\w\((?:s|e|es|x)\)",
    "exploitant, opérateur: hébergeur": r"(?i:\bexploitants?\b|\bopérateurs?\b)",
    "acquit: réponse, or PES_ACQUIT": r"\b[Aa]cquits?\b",
    "AR elsewhere than in its state: réponse": r"(?<!En attente d’)\bAR\b",
    "en partie: partiellement": r"[Aa]cquitté en partie",
    "units of 1000: Kio, Mio, Gio": r"\d (?:[kKMG]o|octets? k)\b",
    "a message mis de côté: retenu": r"[Mm]essages? mis de côté",
    "a file laissé de côté: ignoré": r"[Ll]aissée?s? de côté",
    "vérifié, par: signé par": r"signatures? vérifiées?, par",
    "genre de flux: sorte de flux": r"genres? de flux",
    "rejugé: contrôlé de nouveau": r"\brejugée?s?\b",
}
ENGLISH = re.compile(r"\b(?:the|is|are|was|must|should|not|with|cannot|from|this|which|its|of)\b")
ERRORS_THAT_PEOPLE_READ = {
    "RequestRefusedError",
    "CommandRefusedError",
    "UsageProblemError",
    "PlatformError",
    "Control",
}
BUGS = {"options must be checked first"}  # nobody reads it, unless the code is wrong
HOLE = "{…}"  # where an f-string is filled in


def texts_of(source: str, *, with_docstrings: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module, whole, with their lines."""
    tree = ast.parse(source)
    inner: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=values):
                inner |= {id(value) for value in values if isinstance(value, ast.Constant)}
                said = (str(one.value) if isinstance(one, ast.Constant) else HOLE for one in values)
                yield node.lineno, "".join(said)
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if not with_docstrings and ast.get_docstring(node) is not None:
                    inner.add(id(node.body[0].value))  # type: ignore[attr-defined]  # a docstring is an expression
            case ast.Constant(value=str(said)) if id(node) not in inner:
                yield node.lineno, said


def documents_of(name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a document, without what it quotes of the code."""
    text = QUOTED.sub(lambda found: "\n" * found[0].count("\n"), (ROOT / name).read_text("utf-8"))
    yield from enumerate(text.splitlines(), 1)


@cache
def shown() -> tuple[tuple[str, str], ...]:
    """Return every text that somebody may read, with its place; the help of a command is its docstring."""
    found: list[tuple[str, str]] = []
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        if (name := str(path.relative_to(ROOT))) in IN_LATIN_1:
            continue
        texts = texts_of(path.read_text("utf-8"), with_docstrings=name.startswith("cli/commands/"))
        found += [(f"{name}:{line}", text) for line, text in texts]
    for name in DOCUMENTS:
        found += [(f"{name}:{line}", text) for line, text in documents_of(name)]
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))
    for rule in (rule for group in alerts["groups"] for rule in group["rules"]):
        found.append((rule["alert"], rule["annotations"]["summary"]))
    board = json.loads((ROOT / "deploy/grafana/dashboards/heliotrope.json").read_text("utf-8"))
    found += [("dashboard", panel["title"]) for panel in board["panels"]]
    return tuple(found)


@pytest.mark.parametrize("form", REFUSED)
def test_what_people_read_holds_no_form_that_was_given_up(form: str) -> None:
    assert [(place, text) for place, text in shown() if re.search(REFUSED[form], text)] == []


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("a straight apostrophe", "l'envoi"),
        ("a straight apostrophe", "Jusqu'au soir"),
        ("a straight apostrophe", "d'{…}"),
        ("a straight apostrophe", "aujourd'hui"),
        ("a plural between brackets", "3 étape(s)"),
        ("exploitant, opérateur: hébergeur", "prévenez l’exploitant"),
        ("exploitant, opérateur: hébergeur", "les opérateurs"),
        ("acquit: réponse, or PES_ACQUIT", "l’acquit est là"),
        ("AR elsewhere than in its state: réponse", "un AR est reçu"),
        ("en partie: partiellement", "Acquitté en partie"),
        ("units of 1000: Kio, Mio, Gio", "128 Mo"),
        ("a message mis de côté: retenu", "Messages mis de côté"),
        ("a file laissé de côté: ignoré", "Laissé de côté : x"),
        ("vérifié, par: signé par", "1 signature vérifiée, par X"),
        ("genre de flux: sorte de flux", "par genre de flux"),
        ("rejugé: contrôlé de nouveau", "il est rejugé"),
    ],
)
def test_a_form_that_was_given_up_would_be_found(form: str, text: str) -> None:
    assert re.search(REFUSED[form], text)


@pytest.mark.parametrize("text", ["En attente d’AR", "PES_ACQUIT", "Acquitté", "Le flux est mis de côté", "128 Mio"])
def test_the_words_of_the_glossary_are_let_through(text: str) -> None:
    assert not any(re.search(refused, text) for refused in REFUSED.values())


def helps(group: typer.Typer) -> Iterator[str]:
    """Yield what the help says of every command."""
    for command in group.registered_commands:
        yield inspect.getdoc(command.callback) or ""
    for inner in group.registered_groups:
        yield str(inner.typer_instance.info.help if inner.typer_instance else "")
        yield from helps(inner.typer_instance or typer.Typer())


def test_commands_and_what_they_answer_are_in_french() -> None:
    modules = [
        path for path in (ROOT / "cli").rglob("*.py") if path.name != "french.py"
    ]  # which knows Typer's English
    said = {text for path in modules for _, text in texts_of(path.read_text("utf-8"))} - BUGS
    assert [text for text in [*said, *helps(app)] if " " in text and ENGLISH.search(text)] == []


def test_refusals_are_in_french() -> None:
    """Whatever is given to a refusal, or to an error that a command shows, in its own place."""
    said = []
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS_THAT_PEOPLE_READ:
                said += [(path.name, text) for one in node.args for _, text in texts_of(ast.unparse(one))]
    assert len(said) > 100
    assert [(name, text) for name, text in said if " " in text and ENGLISH.search(text)] == []

"""What people read is in French, with one word for each thing; the words are those of docs/glossary.md."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CODE = ("pes", "signing", "shared", "services", "agent", "local", "cli")
DOCUMENTS = ("docs/operations.md", "docs/controls.md", "docs/signature.md")
QUOTED = re.compile(r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
ELISION = r"(?<![\w'])(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu|aujourd)'(?=[\wÀ-ÿ«{\"…])"
IN_LATIN_1 = {"pes/sample.py"}  # a PES is ISO-8859-1, which has no typographic apostrophe
HOLE = "{…}"  # where an f-string is filled in


def texts_of(source: str, *, with_docstrings: bool) -> Iterator[tuple[int, str]]:
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


@pytest.mark.parametrize("refused", [ELISION])
def test_what_people_read_holds_no_form_that_was_given_up(refused: str) -> None:
    assert [place for place, text in shown() if re.search(refused, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("text", ["l'envoi", "Jusqu'au soir", "d'{…}", "aujourd'hui", "qu'« un »"])
def test_a_straight_apostrophe_would_be_found(text: str) -> None:
    assert re.search(ELISION, text, re.IGNORECASE)

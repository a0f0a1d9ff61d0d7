"""Nothing is defined that nobody uses."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = ("pes", "signing", "shared", "services", "agent", "local", "cli")
CONTRACTS = {("shared.bus.consumer", "Bus")}  # what both buses keep; no code names it


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the modules of some folders, by name."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), ast.parse(path.read_text("utf-8"))


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines; what is decorated is used by what decorates it."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if not node.decorator_list:
                yield node.name
            case ast.Assign(targets=targets):
                yield from (one.id for one in targets if isinstance(one, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def read(tree: ast.Module) -> Counter[str]:
    """Return the names that a module reads, from its own or from another."""
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                found[name] += 1
            case ast.Constant(value=str(text)):
                found.update(text.replace("[", " ").replace("]", " ").split())  # an annotation between quotes
    return found


def unused() -> Iterator[tuple[str, str]]:
    """Yield each name that its module does not read, nobody imports, and nobody reads as an attribute."""
    everything = dict(trees(*CODE, "tests"))
    nodes = [node for tree in everything.values() for node in ast.walk(tree)]
    imported = {(node.module, one.name) for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for module, tree in everything.items():
        if module.startswith("tests."):
            continue
        own = read(tree)
        for name in defined(tree):
            if not own[name] and (module, name) not in imported and name not in attributes:
                yield module, name


def test_nothing_is_defined_that_nobody_uses() -> None:
    assert set(unused()) == CONTRACTS


def test_what_is_read_is_told_from_what_is_only_defined() -> None:
    tree = ast.parse("A = 1\nB = A\ndef f(): ...\n@g\ndef h(): ...\nclass C: ...\nx: 'C'\n")
    assert [name for name in defined(tree) if not read(tree)[name]] == ["B", "f", "x"]

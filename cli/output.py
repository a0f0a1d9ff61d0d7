"""Where commands write: data on standard output, everything else on standard error.

With `--json`, standard output holds one JSON document and nothing else, whatever happens.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, RenderableType

from cli.errors import CommandError
from cli.findings import show_problem

WIDTH_WITHOUT_TERMINAL = 140  # a file or a pipe has no width; lines are folded, never cut


def console(*, stderr: bool = False) -> Console:
    """Return a console for people, on standard output unless told otherwise."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


def show(*what: RenderableType) -> None:
    """Show something to a person; plain text is shown as it is."""
    out = console()
    for one in what:
        out.print(one, markup=False, soft_wrap=isinstance(one, str))


def say(sentence: str) -> None:
    """Tell a person what goes on, beside the data."""
    console(stderr=True).print(sentence, markup=False, soft_wrap=True)


def emit(document: object) -> None:
    """Write the JSON document that a program reads."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def emit_line(document: object) -> None:
    """Write one of several JSON documents, each on its line."""
    typer.echo(json.dumps(document, ensure_ascii=False))


def reason_of(error: OSError) -> str:
    """Say in French why a file cannot be read or written."""
    match error:
        case FileNotFoundError():
            return "il n'existe pas"
        case IsADirectoryError():
            return "c'est un dossier"
        case PermissionError():
            return "vos droits ne le permettent pas"
        case _:
            return error.strerror or str(error)


@contextmanager
def reporting(*, as_json: bool = False) -> Iterator[None]:
    """Turn a `CommandError` into what the caller reads, and into the exit code."""
    try:
        yield
    except CommandError as error:
        if as_json:
            emit(error.document)
        show_problem(console(stderr=True), error.document)
        raise typer.Exit(error.exit_code) from error

"""Where commands write: data on standard output, everything else on standard error.

With `--json`, standard output holds one JSON document and nothing else, whatever happens.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich.table
import typer
from rich.console import Console, RenderableType

from cli.errors import CommandError, CommandRefusedError, UsageProblemError
from cli.showing.findings import show_problem
from local.errors import BadSettingError, PlatformError
from pes.text import printable
from shared.runtime.files import write_whole

WIDTH_WITHOUT_TERMINAL = 140  # a file or a pipe has no width; lines are folded, never cut


def console(*, stderr: bool = False) -> Console:
    """Return a console for people, on standard output unless told otherwise."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


class Table(rich.table.Table):
    """A table whose cells hold what others wrote: whatever would command the terminal is shown as `?`."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:  # noqa: ANN401  # those of the class it stands for
        """Add a row; see `rich.table.Table.add_row`."""
        super().add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def plain(text: str) -> str:
    """Return a text without what would command a terminal, or hide or turn around what it says; lines stay lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def show(*what: RenderableType) -> None:
    """Show something to a person; plain text is shown as it is."""
    out = console()
    for one in what:
        out.print(plain(one) if isinstance(one, str) else one, markup=False, soft_wrap=isinstance(one, str))


def say(sentence: str) -> None:
    """Tell a person what goes on, beside the data."""
    console(stderr=True).print(plain(sentence), markup=False, soft_wrap=True)


def confirmed(question: str) -> bool:
    """Ask a person, in French, and return whether they agree; the end of what they can say is a no."""
    while True:
        typer.echo(f"{question} [o/N] ", nl=False, err=True)
        answer = sys.stdin.readline()
        match answer.strip().casefold():
            case "o" | "oui" | "y" | "yes":
                return True
            case "" | "n" | "non" | "no":
                return False
            case _:
                say("Répondez par o (oui) ou n (non).")


def emit_or_say(document: object, said: str, *, as_json: bool) -> None:
    """Write a document for programs, or say in a sentence what was done."""
    if as_json:
        emit(document)
    else:
        say(said)


def emit(document: object) -> None:
    """Write the JSON document that a program reads."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def emit_line(document: object) -> None:
    """Write one of several JSON documents, each on its line."""
    typer.echo(json.dumps(document, ensure_ascii=False))


def save(output: Path, content: bytes) -> None:
    """Write a file that someone asked for whole, or not at all."""
    try:
        write_whole(output, content)
    except OSError as error:
        raise CommandRefusedError("Écriture impossible", f"{output} : {reason_of(error)}.") from error


def reason_of(error: OSError) -> str:
    """Say in French why a file cannot be read or written."""
    match error:
        case FileNotFoundError():
            return "il n’existe pas"
        case IsADirectoryError():
            return "c’est un dossier"
        case PermissionError():
            return "vos droits ne le permettent pas"
        case _:
            return f"le système répond « {error.strerror or error} »"


@contextmanager
def reporting(*, as_json: bool = False) -> Iterator[None]:
    """Turn a `CommandError`, or what the local platform says, into what the caller reads, and into the exit code."""
    try:
        yield
    except (CommandError, PlatformError) as raised:
        error = _as_command_error(raised)
        if as_json:
            emit(error.document)
        show_problem(console(stderr=True), error.document)
        raise typer.Exit(error.exit_code) from raised


def _as_command_error(error: CommandError | PlatformError) -> CommandError:
    match error:
        case BadSettingError():
            return UsageProblemError(error.title, error.detail)
        case PlatformError():
            return CommandRefusedError(error.title, error.detail)
        case _:
            return error

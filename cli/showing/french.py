"""Makes Typer speak French: its help, and what it says of a command that is badly written."""

import re
import sys
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from cli.errors import ExitCode

# What Typer and pydantic say in English, and what we say.
_SAYINGS = tuple(
    (re.compile(english), french)
    for english, french in (
        (r"No such command '(.*)'\.", "la commande « {} » n’existe pas."),
        (r"Missing command\.", "il manque une commande."),
        (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", "« {} » est de trop."),
        (r"Option '(.*)' requires .*", "l’option {} demande une valeur."),
        (r"Option '(.*)' does not take a value\.", "l’option {} ne prend pas de valeur."),
        (r".*valid integer.*", "un nombre entier est attendu."),
        (r".*valid number.*", "un nombre est attendu."),
        (r".*greater than or equal to (\S+)", "le minimum est {}."),
        (r".*less than or equal to (\S+)", "le maximum est {}."),
        (r".*'(.*)' is not one of (.*)\.", "« {} » n’est pas de : {}."),
    )
)


class FrenchCommand(TyperCommand):
    """A command whose help is in French."""

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer keeps its classes private
        """Return the help option."""
        return _in_french(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # as above
        """Write the help."""
        _translate_panels()
        super().format_help(ctx, formatter)


class FrenchGroup(TyperGroup):
    """A group of commands that explains a mistake in French, and ends with the code of a mistake."""

    command_class = FrenchCommand

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401  # as above
        """Return the help option."""
        return _in_french(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # as above
        """Write the help."""
        _translate_panels()
        super().format_help(ctx, formatter)

    def main(self, args: Any = None, prog_name: str | None = None, **named: Any) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Run the command line; end the process, unless it is called from Python."""
        if not named.pop("standalone_mode", True):
            return super().main(args, prog_name, standalone_mode=False, **named)
        try:
            result = super().main(args, prog_name, standalone_mode=False, **named)
        except typer.TyperException as mistake:
            if sentence := sentence_of(mistake):
                sys.stderr.write(f"Erreur : {sentence}\n")
            sys.exit(ExitCode.USAGE)
        except typer.Abort:
            sys.stderr.write("Interrompu.\n")
            sys.exit(ExitCode.REFUSED)
        sys.exit(result if isinstance(result, int) else ExitCode.DONE)


def sentence_of(mistake: typer.TyperException) -> str:
    """Say in French what is wrong with a command, and where its help is; nothing, when that was shown."""
    ctx = getattr(mistake, "ctx", None)
    said = getattr(mistake, "message", "")
    match type(mistake).__name__:  # Typer keeps these classes private
        case "NoSuchOption":
            sentence = f"l’option {getattr(mistake, 'option_name', '?')} n’existe pas."
        case "MissingParameter":
            sentence = f"il manque {_name_of(mistake)}."
        case "NoArgsIsHelpError":
            return ""  # the help has been shown
        case "BadParameter":
            sentence = f"la valeur de {_name_of(mistake)} ne convient pas : {_in_our_words(said)}"
        case _:
            sentence = _in_our_words(said)
    path = getattr(ctx, "command_path", "heliotrope")
    return f"{sentence}\nVoir : {path} --help"


def _in_our_words(said: str) -> str:
    """Return what Typer says in English in French; what nobody foresaw is quoted."""
    for english, french in _SAYINGS:
        if found := english.fullmatch(said):
            return french.format(*found.groups())
    return f"commande mal écrite (message technique : {said})."


def _name_of(mistake: typer.TyperException) -> str:
    hint = getattr(mistake, "param_hint", None)
    parameter = getattr(mistake, "param", None)
    if not hint and parameter is not None:
        hint = parameter.get_error_hint()
    return " ou ".join(hint) if isinstance(hint, list | tuple) else str(hint or "un paramètre")


def _in_french(option: Any) -> Any:  # noqa: ANN401  # as above
    if option is not None:
        cast("Any", option).help = "Affiche cette aide."
    return option


def _translate_panels() -> None:
    """Give Typer's help the French titles; they are module constants, and it has no translations of its own."""
    from typer import rich_utils  # noqa: PLC0415  # it loads rich, which only the help needs

    rich_utils.COMMANDS_PANEL_TITLE = "Commandes"
    rich_utils.DEFAULT_STRING = "[par défaut : {}]"
    rich_utils.REQUIRED_LONG_STRING = "[obligatoire]"

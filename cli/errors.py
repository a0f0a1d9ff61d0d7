"""What a command can end with, and the exit code that says so.

The codes are part of the interface: scripts and the Makefile rely on them.
"""

from collections.abc import Mapping
from enum import IntEnum

# As the services name their problems (`shared.web.problems`, which the command line does not load: it is FastAPI's).
PROBLEM_TYPE = "urn:heliotrope:problem:"


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    ENDED_OTHERWISE = 4
    TIME_OVER = 5


EXIT_CODES_HELP = (
    "Codes de retour : 0 fait ; 1 refusé ; 2 commande mal écrite ; 3 plateforme injoignable ; "
    "4 le flux attendu a fini autrement ; 5 le délai d’attente est passé."
)


class CommandError(Exception):
    """A command cannot do what it was asked. Shown by `cli.showing.output.reporting`.

    Attributes:
        title: what happened, in French.
        detail: what happened here, who can act, what to do next.
        document: the problem document (RFC 9457) that `--json` prints.
        exit_code: how the command ends.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, title: str, detail: str, document: Mapping[str, object] | None = None) -> None:
        super().__init__(f"{title} : {detail}")
        self.title = title
        self.detail = detail
        self.document = document or problem("refused", title, detail)


class CommandRefusedError(CommandError):
    """The platform, or the command itself, said no."""


class UsageProblemError(CommandError):
    """The command lacks something that only its author can give."""

    exit_code = ExitCode.USAGE


class UnreachableError(CommandError):
    """The platform does not answer."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, title: str, detail: str, document: Mapping[str, object] | None = None) -> None:
        super().__init__(title, detail, document or problem("unreachable", title, detail))


def problem(slug: str, title: str, detail: str, **members: object) -> dict[str, object]:
    """Return a problem document (RFC 9457) of the command line's own."""
    return {"type": PROBLEM_TYPE + slug, "title": title, "detail": detail, **members}

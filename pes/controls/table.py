"""Prints the list of controls for `docs/controls.md` (French): `python -m pes.controls.table`."""

import sys
from collections.abc import Iterator

from pes.controls.catalogue import CONTEXT, CONTROLS, READER
from pes.controls.control import Control

_SEVERITIES = {"blocking": "bloquant", "warning": "avertissement"}
_PARTS = (
    ("Avant toute lecture", READER),
    ("Sur le contenu du flux", CONTROLS),
    ("Avec ce que la plateforme sait par ailleurs", CONTEXT),
)


def document() -> str:
    """Return the tables, in Markdown."""
    return "\n".join(line for title, controls in _PARTS for line in _part(title, controls))


def _part(title: str, controls: tuple[Control, ...]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| code | gravité | ce qui est vérifié | source | qui peut agir | que faire |"
    yield "|---|---|---|---|---|---|"
    for one in controls:
        severity = _SEVERITIES[one.severity] + (", fixe" if one.is_fixed else "")
        yield f"| `{one.code}` | {severity} | {one.checks} | {one.source} | {one.who} | {one.next} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(document())

"""Prints the checks of signatures for `docs/signature.md` (French): `python -m signing.table`."""

import sys
from collections.abc import Iterator

from signing.checks import ALL

_SEVERITIES = {"blocking": "bloquant", "warning": "avertissement"}


def document() -> str:
    """Return the table, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| n° | code | gravité | ce qui est vérifié | source |"
    yield "|---|---|---|---|---|"
    for one in ALL:
        yield f"| {one.number} | `{one.code}` | {_SEVERITIES[one.severity]} | {one.checks} | {one.source} |"


if __name__ == "__main__":
    sys.stdout.write(document())

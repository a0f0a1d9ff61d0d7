"""What outsiders name may hold any character; this is how such a text is made fit to be stored and shown."""

from datetime import datetime
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")


def in_paris(moment: datetime) -> str:
    """Write an instant as people in France read it; `moment` is aware."""
    return f"{moment.astimezone(PARIS):%d/%m/%Y à %H:%M} (heure de Paris)"


def printable(text: str, characters_max: int | None = None) -> str:
    """Return a text cut to its bound, each character that has no shape of its own (NUL, a control) as `?`.

    PostgreSQL takes no NUL in a text, and UTF-8 no half of a surrogate pair.
    """
    return "".join(character if character.isprintable() else "?" for character in text[:characters_max])

"""How whatever takes long says, in French, what it does."""

from collections.abc import Callable

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Receive progress and show none of it."""

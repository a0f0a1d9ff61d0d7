"""The texts that people send to our APIs: on one line, without a character that has no shape of its own.

PostgreSQL takes no NUL in a text, a terminal obeys some control characters, and a fact is kept for ever.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from shared.facts.envelope import ACTOR_CHARACTERS_MAX
from shared.facts.values import REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN


def _on_one_line(value: object) -> object:
    """Write a text on one line; the spaces of French typography become plain ones."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _shown_as_it_is(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("Ce texte contient des caractères qui ne s’affichent pas, ou des espaces autour.")
    return text


def _in_our_time(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:  # in the year 1, or 9999, somewhere else
        raise ValueError("Cet instant est hors du calendrier.") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_our_time)]
Comment = Annotated[
    str, Field(max_length=REASON_CHARACTERS_MAX), BeforeValidator(_on_one_line), AfterValidator(_shown_as_it_is)
]
Reason = Annotated[
    str,
    Field(min_length=REASON_CHARACTERS_MIN, max_length=REASON_CHARACTERS_MAX),
    BeforeValidator(_on_one_line),
    AfterValidator(_shown_as_it_is),
]
Name = Annotated[
    str, Field(min_length=1, max_length=200), BeforeValidator(_on_one_line), AfterValidator(_shown_as_it_is)
]
Sought = Annotated[str, Field(max_length=255), AfterValidator(_shown_as_it_is)]
# A `sub` is compared as it is, so it is not put right.
Person = Annotated[str, Field(min_length=1, max_length=ACTOR_CHARACTERS_MAX), AfterValidator(_shown_as_it_is)]

"""What is wrong with a request that has not the expected shape, in French: from the type of pydantic's error.

pydantic writes its sentences in English only. Each type of error that our models can produce has its sentence here,
with what its context holds; what our own validators say (`value_error`) is French already.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

FAULTS_TOLD_MAX = 20

_INTEGER = "Un nombre entier est attendu."
_NUMBER = "Un nombre est attendu."
_BOOLEAN = "true ou false est attendu."
_IDENTIFIER = "Un identifiant est attendu, de la forme d’un UUID."
_TIME = "Une date et une heure sont attendues, par exemple 2026-03-31T14:05:00+02:00."
_DATE = "Une date est attendue, par exemple 2026-03-31."
_OBJECT = "Un objet JSON est attendu."
_ONE_OF = "Cette valeur n’est pas connue. Sont admises : {expected}."
_OTHER: Final = "La forme n’est pas celle qui est attendue."

SENTENCES: Final[Mapping[str, str]] = {
    "missing": "Cet élément manque.",
    "value_error": "{error}",
    "json_invalid": "Ce n’est pas du JSON bien écrit.",
    "string_type": "Un texte est attendu.",
    "string_too_short": "Ce texte est trop court ; en caractères, le minimum est {min_length}.",
    "string_too_long": "Ce texte est trop long ; en caractères, le maximum est {max_length}.",
    "string_pattern_mismatch": "Ce texte n’a pas la forme attendue : {pattern}.",
    "string_unicode": "Ce texte contient ce qui n’est pas un caractère.",
    "literal_error": _ONE_OF,
    "enum": _ONE_OF,
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_parsing_size": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than_equal": "Ce nombre est trop petit ; le minimum est {ge}.",
    "less_than_equal": "Ce nombre est trop grand ; le maximum est {le}.",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "uuid_type": _IDENTIFIER,
    "uuid_parsing": _IDENTIFIER,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "timezone_aware": "Le fuseau de cette heure manque : Z, ou par exemple +02:00.",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "list_type": "Une liste est attendue.",
    "tuple_type": "Une liste est attendue.",
    "too_short": "Il y en a trop peu ; le minimum est {min_length}.",
    "too_long": "Il y en a trop ; le maximum est {max_length}.",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "union_tag_not_found": "L’élément {discriminator} manque.",
    "union_tag_invalid": "{discriminator} n’est pas connu : « {tag} ». Sont admis : {expected_tags}.",
}


def faults_of(errors: Iterable[Mapping[str, object]]) -> list[dict[str, str]]:
    """Return where each error is, and what it is, as pydantic found them; the first of many."""
    return [{"where": _where(one), "what": _what(one)} for one in islice(errors, FAULTS_TOLD_MAX)]


def _where(error: Mapping[str, object]) -> str:
    place = error["loc"]
    return ".".join(map(str, place)) if isinstance(place, tuple | list) else ""


def _what(error: Mapping[str, object]) -> str:
    context = error.get("ctx")
    told = {name: str(value) for name, value in context.items()} if isinstance(context, Mapping) else {}
    if "expected" in told:
        told["expected"] = told["expected"].replace(" or ", " ou ")
    return SENTENCES.get(str(error["type"]), _OTHER).format_map(told)

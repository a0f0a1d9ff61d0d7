"""Which service answers what: a table for a proxy, made of what each service says of itself (its OpenAPI document).

Several services share a prefix (`/v1/flux` is imported by one, shown by another): who answers follows from the method
and the path.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Description = Mapping[str, Any]

_METHODS: Final = ("get", "put", "post", "delete", "patch")


class DisagreementError(ValueError):
    """Two services answer the same method and path; the message names them."""


def operations(document: Description) -> Iterator[tuple[str, str]]:
    """Yield the method and the path of every operation of an API, but those for who runs it (`/healthz`, metrics)."""
    for path, item in document["paths"].items():
        if path.startswith("/v1/"):
            yield from ((method.upper(), path) for method in _METHODS if method in item)


def answered_by(documents: Mapping[str, Description]) -> dict[tuple[str, str], str]:
    """Return which service answers each method and path.

    Args:
        documents: the OpenAPI document of each service, by its name.

    Raises:
        DisagreementError: two of them answer the same.
    """
    found: dict[tuple[str, str], str] = {}
    for service, document in documents.items():
        for operation in operations(document):
            if operation in found:
                raise DisagreementError(f"{' '.join(operation)} is answered by {found[operation]} and by {service}")
            found[operation] = service
    return found


def nginx_map(documents: Mapping[str, Description]) -> str:
    """Return the entries of nginx's `map "$request_method $uri"` that say who answers.

    A path that is asked with a method nobody answers goes to who answers another one, and is refused there.
    """
    answers = answered_by(documents)
    exact = [f'"~^{method} {_pattern(path)}$" {service};' for (method, path), service in sorted(answers.items())]
    paths = {path: service for (_, path), service in sorted(answers.items())}
    other = [f'"~^[A-Z]+ {_pattern(path)}$" {service};' for path, service in paths.items()]
    return "\n".join([*exact, *other]) + "\n"


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))

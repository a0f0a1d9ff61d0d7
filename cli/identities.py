"""What a file names its collectivité by, and what of it is registered: so that a person is told the one step."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cli.api import Api
from cli.collectivite import HEAD_BYTES, value_in
from cli.errors import CommandRefusedError
from cli.showing.timeline import members_of
from shared import wording
from shared.facts.collectivite import Budget, Identifier, Siret

SERVICE = "validation"
READ: TypeAdapter[Identifier] = TypeAdapter(Identifier)
_NOT_OPEN = "collectivite-not-open"


def unregistered(api: Api, siren: str, path: Path) -> list[Identifier]:
    """Return what a file names and is not registered for a collectivité; only the platform judges, this informs.

    Nothing, for a file of another SIREN: there is no step that lets it through.

    Raises:
        CommandRefusedError: the caller may not see the collectivité.
    """
    named = named_in(path)
    if any(isinstance(one, Siret) and not one.siret.startswith(siren) for one in named):
        return []
    url = f"{api.url(SERVICE)}/v1/collectivites/{siren}"
    try:
        answer = api.send(SERVICE, lambda client: client.get(url))
    except CommandRefusedError as refused:
        if not str(refused.document.get("type", "")).endswith(_NOT_OPEN):
            raise
        answer = {}
    known = {READ.validate_python(one["identifier"]) for one in members_of(answer, "identifiers")}
    return [one for one in named if one not in known]


def named_in(path: Path) -> Sequence[Identifier]:
    """Return what a file names its collectivité by, from its first bytes; nothing that has not the right form."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    named: list[Identifier] = []
    try:
        named.append(Siret(siret=value_in(head, "IdColl")))
        named.append(
            Budget(
                id_post=value_in(head, "IdPost"), cod_col=value_in(head, "CodCol"), cod_bud=value_in(head, "CodBud")
            )
        )
    except ValidationError:
        return named  # its judgement says so
    return named


def register(
    api: Api, siren: str, reason: str, wanted: Iterable[Identifier] = (), *, flux_id: str = ""
) -> dict[str, object]:
    """Register identifiers for a collectivité, or those that a flux names."""
    url = f"{api.url(SERVICE)}/v1/collectivites/{siren}/identifiers"
    what = {"flux_id": flux_id} if flux_id else {"identifiers": [one.model_dump() for one in wanted]}
    return api.send(SERVICE, lambda client: client.post(url, json={**what, "reason": reason}))


def written(identifiers: Iterable[Identifier]) -> str:
    """Write identifiers on one line."""
    return " ; ".join(map(wording.identifier, identifiers))

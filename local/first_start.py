"""What the local platform begins with, recorded through its APIs as people would; then it is as people left it."""

from datetime import UTC, datetime

import httpx

from local.errors import PlatformError
from local.folder import DataFolder
from local.keys.tokens import OPERATOR_ROLES, Roles, person_token
from local.ports import Ports
from local.progress import Say
from pes.sample import SampleSpec
from shared.facts.collectivite import Budget, Siret
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.web.auth import Role
from shared.wording import identifier

DEFAULT_COLLECTIVITE = SampleSpec().siret[:9]
ACTOR = "heliotrope up"
REASON = "Collectivité inventée de la plateforme locale : ce que nomment les exemples (heliotrope sample)"
SEAL_REASON = "Plateforme locale : son cachet d’essai signe ce qu’aucun circuit ne donne à des personnes"


def record_first_decisions(folder: DataFolder, ports: Ports, say: Say) -> None:
    """Record what nobody has decided yet; the services are ready.

    Raises:
        PlatformError: a service refuses.
    """
    _open_collectivite(folder, ports, say)
    _choose_seal(folder, ports)


def _open_collectivite(folder: DataFolder, ports: Ports, say: Say) -> None:
    """Open the made-up collectivité, for what samples name."""
    spec = SampleSpec()
    identifiers: tuple[Siret | Budget, ...] = (
        Siret(siret=spec.siret),
        Budget(id_post=spec.id_post, cod_col=spec.cod_col, cod_bud=spec.cod_bud),
    )
    url = f"{ports.url('validation')}/v1/collectivites/{DEFAULT_COLLECTIVITE}"
    with _client(folder, {DEFAULT_COLLECTIVITE: [Role.ADMINISTRATEUR]}) as client:
        if client.get(url).status_code != httpx.codes.NOT_FOUND:
            return
        body = {"identifiers": [one.model_dump() for one in identifiers], "reason": REASON}
        _check("La collectivité d’essai", client.post(f"{url}/identifiers", json=body))
    written = " ; ".join(map(identifier, identifiers))
    say(f"Collectivité d’essai {DEFAULT_COLLECTIVITE} ouverte, avec : {written}.")


def _choose_seal(folder: DataFolder, ports: Ports) -> None:
    """Have the platform's seal sign for every collectivité that says nothing of it."""
    url, for_all = f"{ports.url('signature')}/v1/seal", {"collectivite": EVERY_COLLECTIVITE}
    with _client(folder, OPERATOR_ROLES) as client:
        said = client.get(url, params=for_all)
        _check("Le cachet", said)
        if said.json()["choice"] is None:
            body = {"has_seal": True, "reason": SEAL_REASON}
            _check("Le cachet", client.put(url, params=for_all, json=body))


def _client(folder: DataFolder, roles: Roles) -> httpx.Client:
    token = person_token(folder, ACTOR, roles, datetime.now(UTC), days=1)
    return httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {token}"})


def _check(what: str, answer: httpx.Response) -> None:
    if not answer.is_success:
        raise PlatformError("La plateforme n’a pas démarré", f"{what} : {answer.text}")

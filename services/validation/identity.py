"""Decides who a collectivité is: what DGFiP knows it by, and the channel that its flux take. Pure.

Theory of operation. DGFiP books a flux under the poste, the CodCol and the CodBud that the file names, and answers to
its SIRET. So a flux passes only if all it names is registered for the collectivité that imports it. An administrator
registers: nothing is learned from a file, which may say anything. A SIRET begins with the SIREN, so nobody can take
another's; a budget is whose registers it first (the journal lets no two have it), with the operator as arbiter.
"""

from collections.abc import Collection, Sequence

from pydantic import ValidationError

from pes.vocabulary import Header
from shared.errors import RequestRefusedError, Why
from shared.facts import collectivite as facts
from shared.facts.fact import Fact
from shared.facts.flux import IdentifiersCompleted
from shared.facts.lifecycles.collectivite import Collectivite, decided
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.lifecycles.playing import news

NOT_REGISTERED = "identifier.not-registered"


def named_by(header: Header) -> tuple[facts.Identifier, ...]:
    """Return what a flux names its collectivité by.

    Raises:
        ValueError: its header has not the form that the controls ask for.
    """
    budget = facts.Budget(id_post=header.id_post, cod_col=header.cod_col, cod_bud=header.cod_bud)
    return facts.Siret(siret=header.id_coll), budget


def register(collectivite: Collectivite, siren: str, wanted: Sequence[facts.Identifier], reason: str) -> list[Fact]:
    """Return the facts that register what is not registered yet; they open the collectivité if need be.

    Raises:
        RequestRefusedError: a SIRET is of another SIREN.
    """
    for one in wanted:
        if isinstance(one, facts.Siret) and not one.siret.startswith(siren):
            raise _of_another(one, siren)
    asked = (facts.IdentifierRegistered(identifier=one, reason=reason) for one in wanted)
    return decided(collectivite, siren, asked, reason)


def withdraw(collectivite: Collectivite, unwanted: Sequence[facts.Identifier], reason: str) -> list[Fact]:
    """Return the facts that withdraw what is registered."""
    if collectivite.state is None:
        return []
    return news(collectivite, (facts.IdentifierWithdrawn(identifier=one, reason=reason) for one in unwanted))


def choose_channel(collectivite: Collectivite, siren: str, channel: str, reason: str) -> list[Fact]:
    """Return the facts that have the flux of a collectivité leave by this channel."""
    return decided(collectivite, siren, [facts.ChannelChosen(channel=channel, reason=reason)], reason)


def complete(flux: Flux, codes: Collection[str], known: Collection[facts.Identifier], reason: str) -> list[Fact]:
    """Return the facts that have a flux judged anew: all that it was refused for is registered now.

    Args:
        flux: as its facts tell it.
        codes: the blocking findings that it ended with.
        known: what is registered for its collectivité.
        reason: why it was registered.
    """
    is_only_that = flux.state is State.INVALID and set(codes) == {NOT_REGISTERED}
    if not is_only_that or flux.header is None:
        return []
    try:
        named = set(named_by(flux.header))
    except ValidationError:  # of a form that only a newer version takes: here nothing of it is registered
        return []
    return [IdentifiersCompleted(reason=reason)] if named <= set(known) else []


def _of_another(siret: facts.Siret, siren: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE,
        "identifier-of-another",
        "SIRET d’une autre collectivité",
        f"Le SIRET {siret.siret} ne commence pas par {siren} : il n’est pas de cette collectivité. Rien n’est "
        "enregistré. Vérifiez pour quelle collectivité ce flux est importé.",
    )

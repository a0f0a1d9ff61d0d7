"""Decides what is recorded of who may sign, by which steps, in whose place, and of the seal.

What is asked is said as the fact that it would be. Asked twice, it is done once: an id names one thing for ever, an
end only ever comes sooner, a choice that is made is made.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pes.text import in_paris
from shared.errors import RequestRefusedError, Why
from shared.facts import collectivite as of_collectivite
from shared.facts.fact import Fact
from shared.facts.lifecycles import collectivite as collectivites
from shared.facts.lifecycles import platform
from shared.facts.lifecycles.collectivite import Collectivite
from shared.facts.streams import EVERY_COLLECTIVITE

Asked = (
    of_collectivite.MandateGranted
    | of_collectivite.MandateEnded
    | of_collectivite.CircuitSet
    | of_collectivite.DelegationGiven
    | of_collectivite.DelegationEnded
    | of_collectivite.SealChosen
    | of_collectivite.SealLeft
)
End = of_collectivite.MandateEnded | of_collectivite.DelegationEnded

_FIRST: Final = "Première décision enregistrée pour cette collectivité"


def decide(past: Sequence[Fact], collectivite: str, asked: Asked) -> list[Fact]:
    """Turn what is asked for a collectivité (`*`: for all) into the facts to record; none when it is done already.

    Raises:
        RequestRefusedError: its id is that of something else, or it would end later than it does.
    """
    if collectivite == EVERY_COLLECTIVITE:
        return _unless_said(asked, has_seal=platform.fold(past).has_seal)
    known = collectivites.fold(past)
    facts = _of_one(known, asked)
    if facts and known.state is None:
        return [of_collectivite.CollectiviteOpened(siren=collectivite, reason=asked.reason or _FIRST), *facts]
    return facts


def adopt(past: Sequence[Fact], collectivite: str, asked: Asked) -> list[Fact]:
    """As `decide`, unless the collectivité (`*`: the platform) has ever said anything of the seal."""
    if any(isinstance(fact, of_collectivite.SealChosen | of_collectivite.SealLeft) for fact in past):
        return []
    return decide(past, collectivite, asked)


def _of_one(known: Collectivite, asked: Asked) -> list[Fact]:
    match asked:
        case of_collectivite.MandateGranted(mandate_id=mandate_id):
            same = known.mandates.get(mandate_id)
            # Why an operator recorded it is no part of what it says.
            return _once(same and same.model_copy(update={"reason": asked.reason}), asked)
        case of_collectivite.DelegationGiven(delegation_id=delegation_id):
            return _once(known.delegations.get(delegation_id), asked)
        case of_collectivite.MandateEnded(mandate_id=mandate_id):
            return _sooner(known.mandates[mandate_id].valid_until, known.mandate_ends.get(mandate_id), asked)
        case of_collectivite.DelegationEnded(delegation_id=delegation_id):
            foreseen = known.delegations[delegation_id].valid_until
            return _sooner(foreseen, known.delegation_ends.get(delegation_id), asked)
        case _:
            return _unless_said(asked, has_seal=known.has_seal)


def _unless_said(asked: Asked, *, has_seal: bool | None) -> list[Fact]:
    is_said = isinstance(asked, of_collectivite.SealChosen | of_collectivite.SealLeft) and has_seal is isinstance(
        asked, of_collectivite.SealChosen
    )
    return [] if is_said else [asked]


def _once(known: Fact | None, asked: Fact) -> list[Fact]:
    if known is not None and known != asked:
        raise id_taken()
    return [asked] if known is None else []


def _sooner(foreseen: datetime | None, earliest: End | None, asked: End) -> list[Fact]:
    if earliest is not None and earliest.ended_at <= asked.ended_at:
        return []
    if foreseen is not None and foreseen <= asked.ended_at:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "ends-before",
            "Fin déjà prévue",
            f"La fin est déjà prévue le {in_paris(foreseen)} : une fin plus tardive n’y change rien.",
        )
    return [asked]


def id_taken() -> RequestRefusedError:
    """Return the refusal of an id that names something else, of this collectivité or of another."""
    return RequestRefusedError(
        Why.AS_THINGS_STAND,
        "id-taken",
        "Identifiant déjà pris",
        "Cet identifiant désigne déjà autre chose, et ce qui est enregistré ne change jamais. Donnez-en un autre.",
    )

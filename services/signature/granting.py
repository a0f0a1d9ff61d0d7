"""Decides what is recorded of who may sign, by which steps, in whose place, and of the seal.

What is asked is said as the fact that it would be. Asked twice, it is done once: an id names one thing for ever, an
end only ever comes sooner, a choice that is made is made.
"""

from collections.abc import Sequence
from datetime import datetime

from pes.text import in_paris
from shared.errors import RequestRefusedError, Why
from shared.facts import collectivite as of_collectivite
from shared.facts.fact import Fact
from shared.facts.lifecycles.collectivite import Collectivite, decided_for, fold
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
Grant = of_collectivite.MandateGranted | of_collectivite.DelegationGiven
End = of_collectivite.MandateEnded | of_collectivite.DelegationEnded


def decide(past: Sequence[Fact], collectivite: str, asked: Asked) -> list[Fact]:
    """Turn what is asked for a collectivité (`*`: for all) into the facts to record; none when it is done already.

    Raises:
        RequestRefusedError: its id is that of something else, or it would end later than it does.
    """
    if collectivite != EVERY_COLLECTIVITE:
        _check(fold(past), asked)
    return decided_for(past, collectivite, asked, asked.reason)


def adopt(past: Sequence[Fact], collectivite: str, asked: Asked) -> list[Fact]:
    """As `decide`, unless the collectivité (`*`: the platform) has ever said anything of the seal."""
    if any(isinstance(fact, of_collectivite.SealChosen | of_collectivite.SealLeft) for fact in past):
        return []
    return decide(past, collectivite, asked)


def _check(known: Collectivite, asked: Asked) -> None:
    match asked:
        case of_collectivite.MandateGranted(mandate_id=mandate_id):
            _check_id(known.mandates.get(mandate_id), asked)
        case of_collectivite.DelegationGiven(delegation_id=delegation_id):
            _check_id(known.delegations.get(delegation_id), asked)
        case of_collectivite.MandateEnded(mandate_id=mandate_id):
            _check_end(known.mandates[mandate_id].valid_until, known.mandate_ends.get(mandate_id), asked)
        case of_collectivite.DelegationEnded(delegation_id=delegation_id):
            foreseen = known.delegations[delegation_id].valid_until
            _check_end(foreseen, known.delegation_ends.get(delegation_id), asked)
        case _:
            pass  # a choice may always be made


def _check_id(known: Grant | None, asked: Grant) -> None:
    """Return when nothing has this id, or this very thing: why it was recorded is no part of what it says."""
    if known is not None and known.model_copy(update={"reason": asked.reason}) != asked:
        raise id_taken()


def _check_end(foreseen: datetime | None, earliest: End | None, asked: End) -> None:
    is_ended_by_then = earliest is not None and earliest.ended_at <= asked.ended_at
    if foreseen is not None and foreseen <= asked.ended_at and not is_ended_by_then:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "ends-before",
            "Fin déjà prévue",
            f"La fin est déjà prévue le {in_paris(foreseen)} : une fin plus tardive n’y change rien.",
        )


def id_taken() -> RequestRefusedError:
    """Return the refusal of an id that names something else, of this collectivité or of another."""
    return RequestRefusedError(
        Why.AS_THINGS_STAND,
        "id-taken",
        "Identifiant déjà pris",
        "Cet identifiant désigne déjà autre chose, et ce qui est enregistré ne change jamais. Donnez-en un autre.",
    )

"""Names that only one stream may hold at a time, derived from facts.

The journal writes these in the same transaction as the fact, so two requests at the same instant cannot both win.
They can be rebuilt from the facts by this one rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pes.numbers import number_of, year_of
from pes.vocabulary import Bordereau, Header
from shared.facts.collectivite import (
    Budget,
    DelegationGiven,
    IdentifierRegistered,
    IdentifierWithdrawn,
    MandateGranted,
)
from shared.facts.fact import Fact
from shared.facts.flux import (
    FluxCancelled,
    FluxImported,
    FluxPartiallyRejected,
    FluxRejected,
    FluxValidated,
    ReplyReceived,
    SignaturesRejected,
)
from shared.facts.values import Document

DOCUMENT = "document"
IDEMPOTENCY_KEY = "idempotency-key"
REPLY = "reply"
NOMFIC = "nomfic"
BORDEREAU = "bordereau"
BUDGET = "budget"
MANDATE = "mandate"
DELEGATION = "delegation"

DGFIP = "dgfip"  # the scope of what is unique for the whole platform, as DGFiP sees it
EVERYWHERE = "*"  # the scope of ids that people choose, and name without saying of which collectivité

# Which kinds of names a fact takes, and gives up: what `reservations_of` and `releases_of` may return. The grants of
# the database follow from it: a name is released only by a service that records such a fact.
TAKEN_BY: Final[Mapping[type[Fact], tuple[str, ...]]] = {
    FluxImported: (DOCUMENT, IDEMPOTENCY_KEY),
    FluxValidated: (BORDEREAU, NOMFIC),
    ReplyReceived: (REPLY,),
    IdentifierRegistered: (BUDGET,),
    MandateGranted: (MANDATE,),
    DelegationGiven: (DELEGATION,),
}
RELEASED_BY: Final[Mapping[type[Fact], tuple[str, ...]]] = {
    FluxCancelled: (DOCUMENT, NOMFIC, BORDEREAU),
    SignaturesRejected: (NOMFIC, BORDEREAU),
    FluxRejected: (BORDEREAU,),
    FluxPartiallyRejected: (BORDEREAU,),
    IdentifierWithdrawn: (BUDGET,),
}


@dataclass(frozen=True)
class Reservation:
    """One name: `value` is unique among the reservations of this `kind` in this `scope`."""

    scope: str
    kind: str
    value: str


@dataclass(frozen=True)
class Release:
    """Names that a stream gives up: those it holds of this kind whose value begins so (all, with no prefix)."""

    kind: str
    prefix: str = ""


def reservations_of(fact: Fact, collectivite: str) -> tuple[Reservation, ...]:
    """Return the names that a fact takes for its stream, each once."""
    match fact:
        case FluxImported():
            document = Reservation(collectivite, DOCUMENT, fact.document.sha256)
            if not fact.idempotency_key:
                return (document,)
            return (Reservation(collectivite, IDEMPOTENCY_KEY, fact.idempotency_key), document)
        case FluxValidated():
            # In one order for everybody: two appends that take the same names never wait for each other.
            return tuple(
                sorted(set(_business_reservations(fact, collectivite)), key=lambda one: (one.kind, one.value))
            )
        case ReplyReceived():
            return (reply_reservation(fact.document, fact.remote_name if fact.is_repeated else ""),)
        case _:
            return tuple(_reservations_of_a_collectivite(fact))


def nomfic_reservation(collectivite: str, header: Header) -> Reservation:
    """Return the name that DGFiP answers to: NomFic in CodCol (helios.md 3.2, control A12).

    It is a name of the collectivité, whose own CodCol it must be: nobody else can take it.
    """
    return Reservation(collectivite, NOMFIC, f"{header.cod_col}/{header.nomfic}")


def reply_reservation(document: Document, remote_name: str = "") -> Reservation:
    """Return the name of a reply; DGFiP is one for the platform.

    It is its content, never the file's name (helios.md 6.5). Only where the same content counts once more does the
    file's name, as recorded, tell one from the other.
    """
    return Reservation(DGFIP, REPLY, f"{document.sha256}/{remote_name}" if remote_name else document.sha256)


def budget_reservation(budget: Budget) -> Reservation:
    """Return the name that DGFiP books under: a poste, a CodCol, a CodBud are one collectivité's (helios.md 2.2)."""
    return Reservation(DGFIP, BUDGET, f"{budget.id_post}/{budget.cod_col}/{budget.cod_bud}/")


def bordereau_reservation(collectivite: str, header: Header, bordereau: Bordereau) -> Reservation:
    """Return the name of a bordereau in the accounts: DGFiP takes each in once (helios.md 3.2)."""
    value = _named(bordereau.domain, bordereau.number, bordereau.exercice)
    return Reservation(
        collectivite, BORDEREAU, f"{value}{bordereau.type}/{header.id_post}/{header.cod_col}/{header.cod_bud}"
    )


def releases_of(fact: Fact) -> tuple[Release, ...]:
    """Return the names that a stream gives up with this fact: what did not reach the accounts may come again."""
    match fact:
        case FluxCancelled():
            return (Release(DOCUMENT), Release(NOMFIC), Release(BORDEREAU))
        case SignaturesRejected():
            return (Release(NOMFIC), Release(BORDEREAU))
        case FluxRejected():
            return (Release(BORDEREAU),)  # DGFiP has seen its NomFic, and might answer to it again
        case FluxPartiallyRejected():
            refused = (Release(BORDEREAU, _named(one.domain, one.number, one.exercice)) for one in fact.refused)
            return tuple(dict.fromkeys(refused))
        case IdentifierWithdrawn(identifier=Budget() as budget):
            return (Release(BUDGET, budget_reservation(budget).value),)
        case _:
            return ()


def _reservations_of_a_collectivite(fact: Fact) -> Iterator[Reservation]:
    match fact:
        case IdentifierRegistered(identifier=Budget() as budget):
            yield budget_reservation(budget)
        case MandateGranted():
            yield Reservation(EVERYWHERE, MANDATE, str(fact.mandate_id))
        case DelegationGiven():
            yield Reservation(EVERYWHERE, DELEGATION, str(fact.delegation_id))


def _business_reservations(fact: FluxValidated, collectivite: str) -> Iterator[Reservation]:
    if not fact.nomfic_is_reused:
        yield nomfic_reservation(collectivite, fact.header)
    for bordereau in fact.bordereaux:
        if not bordereau.is_repeated:
            yield bordereau_reservation(collectivite, fact.header, bordereau)


def _named(domain: str, number: str, exercice: str) -> str:
    """Return how the value of a bordereau's reservation begins; "02" and "2" are one number (helios.md 2.2)."""
    return f"{domain}/{year_of(exercice)}/{number_of(number)}/"

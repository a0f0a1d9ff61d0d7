"""Names that only one flux may hold at a time, derived from facts.

The journal writes these in the same transaction as the fact, so two requests at the same instant cannot both win.
They can be rebuilt from the facts by this one rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pes.numbers import number_of, year_of
from pes.vocabulary import Bordereau, Header
from shared.facts.events import (
    Fact,
    FluxCancelled,
    FluxImported,
    FluxPartiallyRejected,
    FluxRejected,
    FluxValidated,
    ReplyReceived,
    SignaturesRejected,
)

DOCUMENT = "document"
IDEMPOTENCY_KEY = "idempotency-key"
REPLY = "reply"
NOMFIC = "nomfic"
BORDEREAU = "bordereau"

DGFIP = "dgfip"  # the scope of what is unique for the whole platform


@dataclass(frozen=True)
class Claim:
    """One name: `value` is unique among the claims of this `kind` in this `scope`."""

    scope: str
    kind: str
    value: str


@dataclass(frozen=True)
class Release:
    """Names that a flux gives up: its claims of this kind whose value begins so (all of them, with no prefix)."""

    kind: str
    prefix: str = ""


def claims_of(fact: Fact, collectivite: str) -> tuple[Claim, ...]:
    """Return the names that a fact takes for its flux, each once."""
    match fact:
        case FluxImported():
            document = Claim(collectivite, DOCUMENT, fact.document.sha256)
            if not fact.idempotency_key:
                return (document,)
            return (Claim(collectivite, IDEMPOTENCY_KEY, fact.idempotency_key), document)
        case FluxValidated():
            # In one order for everybody: two appends that take the same names never wait for each other.
            return tuple(
                sorted(set(_business_claims(fact, collectivite)), key=lambda claim: (claim.kind, claim.value))
            )
        case ReplyReceived():
            # Replies are told apart by content, never by name (helios.md 6.5); DGFiP is one for the platform.
            return (Claim(DGFIP, REPLY, fact.document.sha256),)
        case _:
            return ()


def nomfic_claim(header: Header) -> Claim:
    """Return the name that DGFiP answers to: NomFic in CodCol (helios.md 3.2, control A12)."""
    return Claim(DGFIP, NOMFIC, f"{header.cod_col}/{header.nomfic}")


def bordereau_claim(collectivite: str, header: Header, bordereau: Bordereau) -> Claim:
    """Return the name of a bordereau in the accounts: DGFiP takes each in once (helios.md 3.2)."""
    value = _named(bordereau.domain, bordereau.number, bordereau.exercice)
    return Claim(
        collectivite, BORDEREAU, f"{value}{bordereau.type}/{header.id_post}/{header.cod_col}/{header.cod_bud}"
    )


def releases_of(fact: Fact) -> tuple[Release, ...]:
    """Return the names that a flux gives up with this fact: what did not reach the accounts may come again."""
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
        case _:
            return ()


def _business_claims(fact: FluxValidated, collectivite: str) -> Iterator[Claim]:
    if not fact.nomfic_is_reused:
        yield nomfic_claim(fact.header)
    for bordereau in fact.bordereaux:
        if not bordereau.is_repeated:
            yield bordereau_claim(collectivite, fact.header, bordereau)


def _named(domain: str, number: str, exercice: str) -> str:
    """Return how the value of a bordereau's claim begins; "02" and "2" are one number (helios.md 2.2)."""
    return f"{domain}/{year_of(exercice)}/{number_of(number)}/"

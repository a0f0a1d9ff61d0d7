"""Names that only one flux may hold at a time, derived from facts.

The journal writes these in the same transaction as the fact, so two requests at the same instant cannot both win.
They can be rebuilt from the facts by this one rule.
"""

from dataclasses import dataclass

from shared.events import Fact, FluxCancelled, FluxImported, ReplyReceived

DOCUMENT = "document"
IDEMPOTENCY_KEY = "idempotency-key"
REPLY = "reply"


@dataclass(frozen=True)
class Claim:
    """One name: `value` is unique among the claims of this `kind` in this `scope`."""

    scope: str
    kind: str
    value: str


def claims_of(fact: Fact, collectivite: str) -> tuple[Claim, ...]:
    """Return the names that a fact takes for its flux."""
    match fact:
        case FluxImported():
            document = Claim(collectivite, DOCUMENT, fact.document.sha256)
            if not fact.idempotency_key:
                return (document,)
            return (Claim(collectivite, IDEMPOTENCY_KEY, fact.idempotency_key), document)
        case ReplyReceived():
            # Replies are told apart by content, never by name (helios.md 6.5); DGFiP is one for the platform.
            return (Claim("dgfip", REPLY, fact.document.sha256),)
        case _:
            return ()


def releases_of(fact: Fact) -> tuple[str, ...]:
    """Return the kinds of claims that a flux gives up with this fact: a cancelled file may come again."""
    return (DOCUMENT,) if isinstance(fact, FluxCancelled) else ()

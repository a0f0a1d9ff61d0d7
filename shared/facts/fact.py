"""What every fact is: in the past tense, frozen, and its `kind` carries a version."""

from pes.vocabulary import Value


class Fact(Value):
    """Base of all facts; `kind` names it on the wire."""

    kind: str


def kind_of(fact: type[Fact]) -> str:
    """Return the versioned kind of a class of facts, as it stands on the wire: `flux.signed.v1`."""
    return str(fact.model_fields["kind"].default)

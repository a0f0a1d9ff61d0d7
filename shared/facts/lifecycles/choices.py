"""What may be chosen for one collectivité and for all of them alike: circuits, how serious controls are, the seal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pes.vocabulary import Severity
from shared.facts.collectivite import CircuitSet, FluxKind, PolicySet, SealChosen, SealLeft, StepSet
from shared.facts.fact import Fact


@dataclass(frozen=True)
class Choices:
    """The last word on each; why it was said is no part of it.

    Attributes:
        circuits: the steps last set for each kind of flux; none: what was set before was taken back.
        severities: how serious each control was last said to be; None: as serious as by default.
        has_seal: the platform's seal signs; None while nothing was said of it.
    """

    circuits: Mapping[FluxKind, tuple[StepSet, ...]] = field(default_factory=dict)
    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    has_seal: bool | None = None

    def evolve(self, fact: Fact) -> Self:
        """Return the choices after `fact`, which may be about something else."""
        match fact:
            case CircuitSet():
                return replace(self, circuits={**self.circuits, fact.flux_kind: fact.steps})
            case PolicySet():
                return replace(self, severities={**self.severities, fact.code: fact.severity})
            case SealChosen() | SealLeft():
                return replace(self, has_seal=isinstance(fact, SealChosen))
            case _:
                return self

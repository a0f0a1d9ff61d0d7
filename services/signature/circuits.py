"""Circuits: the steps between a valid flux and its sending, in order, and who may take each.

A circuit is chosen by collectivité and by kind of flux when signatures are requested, and written into that fact:
what is changed later does not touch a flux that is under way. A visa approves; a signature signs what its step
covers; a seal signs by itself. Each bordereau carries one signature, so there is one signing step, or one for each
domain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.facts.collectivite import FluxKind
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import StepKind

Domain = Literal["", "depense", "recette"]


@dataclass(frozen=True)
class Step:
    """One step of a circuit.

    Attributes:
        kind: what is done.
        any_of: the `sub` of those who may, any one of them; empty for whoever has the right to.
        domain: which bordereaux a signing step covers; empty for all.
        name: as people read it: "Visa de la directrice financière".
    """

    kind: StepKind
    any_of: tuple[str, ...] = ()
    domain: Domain = ""
    name: str = ""


@dataclass(frozen=True)
class Circuit:
    """The circuit of a collectivité for a kind of flux, as it was set; the last one set counts."""

    collectivite: str
    flux_kind: FluxKind
    steps: tuple[Step, ...]
    reason: str = ""
    changed_by: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True)
class SealChoice:
    """Whether the platform's seal signs for a collectivité; `*`: for those that said nothing of it."""

    collectivite: str
    has_seal: bool
    reason: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True)
class Delegation:
    """Someone takes the steps of another, for a while. To sign, a mandate of their own is needed all the same."""

    delegation_id: UUID
    collectivite: str
    absent: str
    substitute: str
    valid_from: datetime
    valid_until: datetime
    reason: str
    recorded_by: str = ""
    recorded_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def last(self) -> datetime:
        """From when it no longer applies, whether foreseen or ended early."""
        return min(self.valid_until, self.ended_at or self.valid_until)

    def holds(self, at: datetime) -> bool:
        """Say whether it applies at an instant."""
        return self.valid_from <= at < self.last


def fault_of(steps: Sequence[Step], *, has_seal: bool) -> str:
    """Return why these steps make no circuit, in French; empty when they do.

    Args:
        steps: in order.
        has_seal: the collectivité chose to have its flux sealed here.
    """
    signing = [step for step in steps if step.kind != "visa"]
    domains = sorted(step.domain for step in signing)
    if not signing:
        return "Un circuit contient au moins une étape de signature (signature ou seal)."
    if domains not in ([""], ["depense", "recette"]):
        return (
            "Chaque bordereau porte une seule signature : donnez une étape de signature pour tout, ou une pour les "
            "dépenses et une pour les recettes."
        )
    if any(step.domain for step in steps if step.kind == "visa"):
        return "Un visa porte sur tout le flux : seule une étape de signature peut se limiter à un domaine."
    if any(step.kind == "seal" and step.any_of for step in steps):
        return "Une étape seal est faite par la plateforme : elle ne désigne personne."
    if any(step.kind == "seal" for step in steps) and not has_seal:
        return "Cette collectivité n’a pas choisi le cachet de la plateforme (heliotrope seal choose)."
    return ""


def kind_of_flux(domains: Iterable[str]) -> FluxKind:
    """Return the kind of a flux from the domains of its bordereaux."""
    held = set(domains)
    if held == {"depense"}:
        return "depense"
    return "recette" if held == {"recette"} else "mixte"


def applying(collectivite: str, last_set: Iterable[Circuit]) -> list[Circuit]:
    """Return the circuits that apply to a collectivité, by kind of flux.

    Its own come before those of all. One of its own for every kind of flux leaves no room for those of all: a circuit
    that the host sets for one kind does not take the place of what a collectivité decided for all of its flux.

    Args:
        collectivite: whose flux.
        last_set: the last circuit set for each kind of flux, for it and for all; without steps: taken back.
    """
    kept = [circuit for circuit in last_set if circuit.steps]
    own = {circuit.flux_kind: circuit for circuit in kept if circuit.collectivite == collectivite}
    of_all = {circuit.flux_kind: circuit for circuit in kept if circuit.collectivite == EVERY_COLLECTIVITE}
    chosen = own if "*" in own else of_all | own
    return [chosen[kind] for kind in sorted(chosen)]


def choose(circuits: Iterable[Circuit], flux_kind: FluxKind) -> Circuit | None:
    """Return the circuit that applies: the one of this kind of flux before the one of all."""
    by_kind = {circuit.flux_kind: circuit for circuit in circuits if circuit.steps}
    return by_kind.get(flux_kind) or by_kind.get("*")


def whom_they_replace(person: str, delegations: Iterable[Delegation], at: datetime) -> frozenset[str]:
    """Return those whose steps a person may take at an instant, besides their own."""
    return frozenset(one.absent for one in delegations if one.substitute == person and one.holds(at))

"""Every fact about a collectivité: who it is, who may sign for it, which way its flux take, what it chose.

What is set for all of them at once stands in the platform's own streams (`shared.facts.platform`), as the same facts.
"""

from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import Field

from pes.vocabulary import Severity, Sha256, Value
from shared.facts.fact import Fact
from shared.facts.values import Siren, StepKind

FluxKind = Literal["*", "depense", "recette", "mixte"]


class Siret(Value):
    """An establishment of the collectivité: what a PES gives as its IdColl (helios.md 2.2)."""

    type: Literal["siret"] = "siret"
    siret: str = Field(pattern=r"^[0-9]{14}$")


class Budget(Value):
    """A budget of the collectivité: DGFiP knows it by its poste comptable, CodCol and CodBud (helios.md 2.2)."""

    type: Literal["budget"] = "budget"
    id_post: str = Field(pattern=r"^(02[AB][0-9]{3,4}|[0-9]{6,7})$")
    cod_col: str = Field(pattern=r"^[0-9]{3}$")
    cod_bud: str = Field(pattern=r"^[0-9A-Z][0-9]$")


Identifier = Annotated[Siret | Budget, Field(discriminator="type")]


class StepSet(Value):
    """One step of a circuit: what is done, by whom (empty: whoever has the right), on which bordereaux."""

    kind: StepKind
    any_of: tuple[str, ...] = ()
    domain: Literal["", "depense", "recette"] = ""
    name: str = ""


class CollectiviteOpened(Fact):
    """The platform serves this collectivité from now on; `name` is what people call it."""

    kind: Literal["collectivite.opened.v1"] = "collectivite.opened.v1"
    siren: Siren
    name: str = Field(default="", max_length=200)
    reason: str


class IdentifierRegistered(Fact):
    """DGFiP knows the collectivité by this too; no other collectivité has it."""

    kind: Literal["identifier.registered.v1"] = "identifier.registered.v1"
    identifier: Identifier
    reason: str


class IdentifierWithdrawn(Fact):
    """DGFiP does not know the collectivité by this (any more): a flux that names it is no longer let through."""

    kind: Literal["identifier.withdrawn.v1"] = "identifier.withdrawn.v1"
    identifier: Identifier
    reason: str


class ChannelChosen(Fact):
    """The flux of the collectivité leave by this channel, as `TransmissionAttempted` names it."""

    kind: Literal["channel.chosen.v1"] = "channel.chosen.v1"
    channel: str = Field(min_length=1, max_length=50)
    reason: str


class MandateGranted(Fact):
    """A person may sign for the collectivité, under this act; with one certificate only, if one is named.

    `reason` is why somebody recorded it in place of the collectivité's own administrator.
    """

    kind: Literal["mandate.granted.v1"] = "mandate.granted.v1"
    mandate_id: UUID
    person: str
    name: str
    act: str
    valid_from: datetime
    valid_until: datetime | None = None
    certificate_sha256: Sha256 | Literal[""] = ""
    certificate_until: datetime | None = None
    reason: str = ""


class MandateEnded(Fact):
    """A mandate ends early, from this instant; if several ends were recorded, the earliest counts."""

    kind: Literal["mandate.ended.v1"] = "mandate.ended.v1"
    mandate_id: UUID
    ended_at: datetime
    reason: str


class CircuitSet(Fact):
    """The flux of a kind take these steps before they may leave; without steps, what was set before is taken back."""

    kind: Literal["circuit.set.v1"] = "circuit.set.v1"
    flux_kind: FluxKind
    steps: tuple[StepSet, ...] = ()
    reason: str


class DelegationGiven(Fact):
    """Someone takes the steps of someone absent, from one instant to another."""

    kind: Literal["delegation.given.v1"] = "delegation.given.v1"
    delegation_id: UUID
    absent: str
    substitute: str
    valid_from: datetime
    valid_until: datetime
    reason: str


class DelegationEnded(Fact):
    """A delegation ends early, from this instant; the earliest end counts."""

    kind: Literal["delegation.ended.v1"] = "delegation.ended.v1"
    delegation_id: UUID
    ended_at: datetime
    reason: str


class PolicySet(Fact):
    """How serious a control is from now on; None: as serious as it is by default."""

    kind: Literal["policy.set.v1"] = "policy.set.v1"
    code: str
    severity: Severity | None = None
    reason: str


class SealChosen(Fact):
    """The platform's seal signs by itself what no circuit gives to people."""

    kind: Literal["seal.chosen.v1"] = "seal.chosen.v1"
    reason: str


class SealLeft(Fact):
    """The platform's seal signs no more for the collectivité; what it has signed stays signed."""

    kind: Literal["seal.left.v1"] = "seal.left.v1"
    reason: str


CollectiviteFact = Annotated[
    CollectiviteOpened
    | IdentifierRegistered
    | IdentifierWithdrawn
    | ChannelChosen
    | MandateGranted
    | MandateEnded
    | CircuitSet
    | DelegationGiven
    | DelegationEnded
    | PolicySet
    | SealChosen
    | SealLeft,
    Field(discriminator="kind"),
]

COLLECTIVITE_FACTS: tuple[type[Fact], ...] = get_args(get_args(CollectiviteFact)[0])

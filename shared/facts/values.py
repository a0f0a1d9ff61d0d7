"""What facts are made of, beside the words of the PES (`pes.vocabulary`): frozen; fields are added, never removed."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from pes.vocabulary import Sha256, Value

SIREN_SHAPE: Final = "[0-9]{9}"
REASON_CHARACTERS_MIN: Final = 3
REASON_CHARACTERS_MAX: Final = 500

Siren = Annotated[str, Field(pattern=f"^{SIREN_SHAPE}$")]
SirenOrAll = Annotated[str, Field(pattern=rf"^(\*|{SIREN_SHAPE})$")]


def is_siren(text: str) -> bool:
    """True when a text has the shape of a SIREN: nine digits."""
    return re.fullmatch(SIREN_SHAPE, text, re.ASCII) is not None


class Document(Value):
    """A claim check: the bytes themselves are in the document store, under this digest."""

    sha256: Sha256
    size: int = Field(ge=0)


class MandateHeld(Value):
    """The mandate under which someone signed, as it stood in the registry then."""

    mandate_id: UUID
    person: str
    name: str
    act: str
    valid_from: datetime
    valid_until: datetime | None = None


class Signature(Value):
    """One signature in a document: of which element, by whom, when, in which form (helios.md 5.3, 5.4).

    `mandate` is None for a seal, and for what was signed elsewhere under no mandate that the registry knows.
    """

    element_id: str
    signer: str
    certificate_serial: str
    signed_at: datetime
    certificate_sha256: str = ""
    form: str = ""
    mandate: MandateHeld | None = None


StepKind = Literal["visa", "signature", "seal"]


class CircuitStep(Value):
    """One step between a valid flux and its sending.

    `any_of` are the accounts that may take it, any one of them; empty for whoever has the right to. `elements` are
    the XML Ids that a signing step signs; a visa has none. A seal signs by itself.
    """

    kind: StepKind
    any_of: tuple[str, ...] = ()
    name: str = ""
    elements: tuple[str, ...] = ()


class ReplyError(Value):
    """One anomaly stated by DGFiP: NumAnoAck and LibelleAnoAck, with the place they speak of."""

    domain: str
    code: str
    label: str
    bordereau: str = ""
    exercice: str = ""
    piece: str = ""
    ligne: str = ""
    id_unique: str = ""


class RefusedBordereau(Value):
    """A bordereau that DGFiP refused (EtatAck 0), as its answer names it: it does not say the type."""

    domain: Literal["depense", "recette"]
    exercice: str
    number: str


Verdict = Literal["acknowledged", "partially_rejected", "rejected"]

"""The words of the PES that everything above speaks with: what a header says, a bordereau is, a finding is.

Facts are made of these values and are kept for ever, so the same rule holds here: frozen, and fields are added, never
removed or re-purposed.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# Money is exact: a decimal, written as text (JSON numbers are binary floats).
Amount = Annotated[Decimal, PlainSerializer(str, return_type=str, when_used="json")]


class OnScreen(StrEnum):
    """Base of words that programs exchange and people read: each member is its value, and its French on screen."""

    on_screen: str

    def __new__(cls, value: str, on_screen: str = "") -> Self:
        """Make a member of its value and its words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.on_screen = on_screen
        return member


class Value(BaseModel):
    """Base of what facts are made of: immutable, tolerant of fields added later; no error quotes what they hold."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Header(Value):
    """Who a PES is from and about: Enveloppe and EnTetePES (helios.md 2.2), as written in the file."""

    nomfic: str
    typfic: str
    id_post: str
    id_coll: str
    cod_col: str
    cod_bud: str
    emitted_on: str = ""
    label: str = ""
    emitter: str = ""


class Bordereau(Value):
    """One bordereau as its éditeur wrote it.

    `element_id` is its XML Id, needed to sign it; `is_repeated` says that another flux holds it already, and that
    sending it again was accepted.
    """

    domain: Literal["depense", "recette"]
    exercice: str
    number: str
    type: str
    pieces: int
    amount: Amount | None = None
    element_id: str = ""
    is_signed: bool = False
    is_repeated: bool = False


class Where(Value):
    """The place a finding speaks of; what does not apply is left empty.

    `bordereau`, `piece` and `ligne` are the numbers that accountants know (IdBord, IdPce, IdLigne), `attachment` is
    the IdUnique of a PJ. Lines and columns count from 1.
    """

    domain: str = ""
    bordereau: str = ""
    piece: str = ""
    ligne: str = ""
    attachment: str = ""
    element: str = ""
    xpath: str = ""
    line: int | None = None
    column: int | None = None


Severity = Literal["blocking", "warning"]


Who = Literal["ordonnateur", "éditeur", "comptable", "hébergeur"]


class Finding(Value):
    """One thing to know about a flux, which a person can act on. Texts are French and never cut.

    `technical` is what the schema processor or the parser says itself, for an éditeur.
    """

    source: Literal["reader", "control", "schema"]
    code: str
    severity: Severity
    message: str
    where: Where = Where()
    who: Who
    next: str
    technical: str = ""


class Pack(Value):
    """The schema pack that a flux was judged with: its name, and the digest of its files."""

    pack_id: str
    digest: Sha256

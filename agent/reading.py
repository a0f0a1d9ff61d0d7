"""Reads one flux that is to be signed: what the signatory will see of it, and the bytes that their key will sign.

Both come from the same document, read here: the agent shows what it signs, and never signs bytes that it was handed.
"""

import hashlib
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from cryptography import x509
from lxml import etree
from pydantic import BaseModel, ConfigDict, Field

from pes.numbers import amount
from pes.reading.domains import DOMAINS, Domain
from pes.reading.xml import UnreadableError, read, value_at
from shared.wording import count
from signing.outline import Target, UnsignableError, targets, unsigned_of
from signing.xades import Stated, prepare

# A signature says when it was made: an agent that signed with any date would let a portal choose it.
CLOCK_SLACK: Final = timedelta(hours=24)
ELEMENTS_MAX: Final = 10_000
SHOWN_CHARACTERS_MAX: Final = 200
EXPONENT_MAX: Final = 12

_Id = Annotated[str, Field(min_length=1, max_length=200)]


class AskedItem(BaseModel):
    """One flux, as a portal asks to have it signed.

    Attributes:
        flux_id: the portal's own name for it.
        filename: as the signatory knows it.
        document: the whole PES Aller, base64.
        signing_time: ISO 8601, UTC, to the second.
        role: see `Stated`, as are `city` and `postal_code`.
        elements: the Ids to sign; everything that is not signed yet when there is none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    flux_id: _Id
    filename: Annotated[str, Field(max_length=300)]
    document: str
    signing_time: Annotated[str, Field(max_length=40)]
    role: Annotated[str, Field(max_length=200)]
    city: Annotated[str, Field(max_length=200)] = ""
    postal_code: Annotated[str, Field(max_length=20)] = ""
    elements: Annotated[tuple[_Id, ...], Field(max_length=ELEMENTS_MAX)] = ()


@dataclass(frozen=True)
class Line:
    """A bordereau, as the signatory sees it. Amounts are without VAT; None when the file states none."""

    domain: Literal["depense", "recette"]
    number: str
    exercice: str
    pieces: int
    declared: Decimal | None
    """What the bordereau says that it comes to."""
    came_to: Decimal | None
    """What its lignes come to."""


@dataclass(frozen=True)
class Summary:
    """What a flux holds that will be signed."""

    collectivite: str
    nomfic: str
    sha256: str
    is_global: bool
    lines: tuple[Line, ...]
    signing_time: datetime
    stated: Stated


@dataclass
class Item:
    """One flux of a request, and what became of it."""

    flux_id: str
    filename: str
    status: Literal["prepared", "signed", "refused"]
    reason: str | None = None
    summary: Summary | None = None
    to_sign: tuple[tuple[str, bytes], ...] = ()
    """For each element, its Id and the bytes to sign."""
    values: tuple[tuple[str, bytes], ...] = ()

    def refuse(self, reason: str) -> None:
        """Say that it will not be signed, and why."""
        self.status, self.reason, self.to_sign = "refused", reason, ()


def read_item(asked: AskedItem, certificate: x509.Certificate, now: datetime) -> Item:
    """Prepare one flux; one that cannot be signed is refused, with the reason, and says nothing of the others."""
    item = Item(asked.flux_id, asked.filename, "prepared")
    try:
        document = _decoded(asked.document)
        at = _signing_time(asked.signing_time, now)
        stated = Stated(asked.role, asked.city, asked.postal_code)
        chosen = _chosen(targets(document), asked.elements)
        prepared = prepare(document, chosen, certificate=certificate, signing_time=at, stated=stated)
        item.summary = _summary(document, chosen, at, stated)
    except (UnsignableError, UnreadableError) as error:
        item.refuse(str(error))
        return item
    item.to_sign = tuple((one.element_id, one.to_sign) for one in prepared)
    return item


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise UnsignableError(
            "Le portail n’a pas transmis le fichier entier (base64 illisible). Recommencez depuis le portail."
        ) from error


def _signing_time(text: str, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnsignableError(f"La date de signature « {text} » que donne le portail n’est pas lisible.") from error
    if at.utcoffset() != timedelta(0):
        raise UnsignableError(f"La date de signature « {text} » que donne le portail n’est pas en temps universel.")
    if abs(at - now) > CLOCK_SLACK:
        raise UnsignableError(
            f"La date de signature que donne le portail, {at:%d/%m/%Y}, n’est pas celle de ce poste, "
            f"{now:%d/%m/%Y} : on ne signe ni à l’avance, ni après coup. "
            "Vérifiez l’horloge du poste, puis recommencez."
        )
    return at.astimezone(UTC)


def _chosen(found: Sequence[Target], asked: Sequence[str]) -> list[Target]:
    if not asked:
        chosen = unsigned_of(found)
    else:
        by_id = {one.element_id: one for one in found}
        unknown = [one for one in dict.fromkeys(asked) if one not in by_id]
        if unknown:
            raise UnsignableError(
                f"Le fichier ne contient pas « {unknown[0][:SHOWN_CHARACTERS_MAX]} », que le portail demande de "
                "signer. Recommencez depuis le portail ; si cela dure, prévenez votre hébergeur."
            )
        wanted = frozenset(asked)
        chosen = [one for one in found if one.element_id in wanted]
    return chosen


def _summary(document: bytes, chosen: Sequence[Target], at: datetime, stated: Stated) -> Summary:
    root = read(document)
    ids = frozenset(one.element_id for one in chosen)
    is_global = any(one.is_global for one in chosen)
    return Summary(
        collectivite=value_at(root, "EnTetePES/LibelleColBud")[:SHOWN_CHARACTERS_MAX],
        nomfic=value_at(root, "Enveloppe/Parametres/NomFic")[:SHOWN_CHARACTERS_MAX],
        sha256=hashlib.sha256(document).hexdigest(),
        is_global=is_global,
        lines=tuple(
            _line(domain, element)
            for domain in DOMAINS
            for element in root.iterfind(f"{domain.element}/Bordereau")
            if is_global or element.get("Id") in ids
        ),
        signing_time=at,
        stated=stated,
    )


def _line(domain: Domain, element: etree._Element) -> Line:
    lignes = (one.get("V", "") for one in element.iterfind(f"Piece/LigneDePiece/{domain.ligne}/MtHT"))
    return Line(
        domain=domain.name,
        number=value_at(element, "BlocBordereau/IdBord")[:SHOWN_CHARACTERS_MAX],
        exercice=value_at(element, "BlocBordereau/Exer")[:SHOWN_CHARACTERS_MAX],
        pieces=sum(1 for _ in element.iterchildren("Piece")),
        declared=_amount(value_at(element, f"BlocBordereau/{domain.amount}")),
        came_to=sum_of(_amount(one) for one in lignes),
    )


def _amount(text: str) -> Decimal | None:
    """Return an amount that can be shown whole: a hostile one could be written with a thousand digits."""
    found = amount(text)
    if found is None or found.adjusted() > EXPONENT_MAX or found.adjusted() < -EXPONENT_MAX:
        return Decimal(0) if found == 0 else None
    return found


def sum_of(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return what amounts come to; None when one is missing."""
    known = list(amounts)
    return None if None in known else sum((one for one in known if one is not None), Decimal(0))


def told(lines: Sequence[Line]) -> str:
    """Say in a few words what bordereaux come to."""
    pieces = sum(one.pieces for one in lines)
    return f"{count(len(lines), 'bordereau', 'bordereaux')}, {count(pieces, 'pièce', 'pièces')}"

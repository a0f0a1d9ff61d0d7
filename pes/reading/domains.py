"""Where the two domains that have bordereaux keep the same things under different names (helios.md 2.3, 2.4)."""

from dataclasses import dataclass
from functools import cache
from typing import Literal


@dataclass(frozen=True)
class Domain:
    """The names of one domain.

    Attributes:
        name: as facts say it.
        element: the block under the root.
        header: the block's own header.
        amount: the total without VAT of a bordereau; the schemas spell it in two ways.
        piece: where a Piece keeps its fields, from the Piece.
        ligne: where a LigneDePiece keeps its fields, from the LigneDePiece.
        types: TypBord as the schema admits it on the way to DGFiP.
        only_in_replies: TypPce that only DGFiP uses.
    """

    name: Literal["depense", "recette"]
    element: str
    header: str
    amount: str
    piece: str
    ligne: str
    types: frozenset[str]
    only_in_replies: str

    def path(self, template: str) -> str:
        """Return a path of this domain; `{piece}` and `{ligne}` stand for where it keeps their fields."""
        return _filled(template, self.piece, self.ligne)


@cache
def _filled(template: str, piece: str, ligne: str) -> str:
    return template.replace("{piece}", f"Bordereau/Piece/{piece}").replace(
        "{ligne}", f"Bordereau/Piece/LigneDePiece/{ligne}"
    )


DEPENSE = Domain(
    name="depense",
    element="PES_DepenseAller",
    header="EnTeteDepense",
    amount="MtBordHT",
    piece="BlocPiece/InfoPce",
    ligne="BlocLignePiece/InfoLignePce",
    types=frozenset({"01", "02", "03"}),
    only_in_replies="12",
)
RECETTE = Domain(
    name="recette",
    element="PES_RecetteAller",
    header="EnTeteRecette",
    amount="MtBordHt",
    piece="BlocPiece",
    ligne="BlocLignePiece/InfoLignePiece",
    types=frozenset({"01", "02", "03", "06"}),
    only_in_replies="14",
)
DOMAINS = (DEPENSE, RECETTE)
ORMC = "06"  # TypBord of an ORMC, which has rules of its own

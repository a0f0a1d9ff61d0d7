"""What a fact keeps of a flux: its header and its bordereaux. A fact is carried by the bus: each field is cut."""

from lxml import etree

from pes.numbers import amount
from pes.reading.aller import Aller, Block, count
from pes.reading.xml import SIGNATURE, value_at
from pes.vocabulary import Bordereau, Header

FIELD_CHARACTERS_MAX = 200  # longer than any field of the header may be (helios.md 2.2)
BORDEREAUX_MAX = 1000
ID_CHARACTERS_MAX = 100
DETAIL_CHARACTERS_MAX = 50  # longer than any field of a bordereau may be (helios.md 2.3)


def header_of(root: etree._Element) -> Header:
    """Return who a PES is from and about, as written in it."""

    def at(path: str) -> str:
        return value_at(root, path)[:FIELD_CHARACTERS_MAX]

    return Header(
        nomfic=at("Enveloppe/Parametres/NomFic"),
        typfic=at("Enveloppe/Parametres/TypFic"),
        id_post=at("EnTetePES/IdPost"),
        id_coll=at("EnTetePES/IdColl"),
        cod_col=at("EnTetePES/CodCol"),
        cod_bud=at("EnTetePES/CodBud"),
        emitted_on=at("EnTetePES/DteStr"),
        label=at("EnTetePES/LibelleColBud"),
        emitter=at("Enveloppe/Emetteur/Sigle"),
    )


def bordereaux_of(aller: Aller) -> tuple[Bordereau, ...]:
    """Return the bordereaux, the first of them when they are too many for a fact."""
    found = [pair for _, pair in zip(range(BORDEREAUX_MAX), aller.bordereaux(), strict=False)]
    return tuple(_bordereau(block, element) for block, element in found)


def must_be_signed(aller: Aller) -> bool:
    """Say whether a flux must be signed to leave: a domain says so, or a signature is there and must hold (A11)."""
    return (
        any(block.is_dematerialised for block in aller.blocks) or next(aller.root.iter(SIGNATURE), None) is not None
    )


def _bordereau(block: Block, element: etree._Element) -> Bordereau:
    bloc = element.find("BlocBordereau")

    def at(name: str) -> str:
        return value_at(bloc, name)[:DETAIL_CHARACTERS_MAX]

    return Bordereau(
        domain=block.domain.name,
        exercice=at("Exer"),
        number=at("IdBord"),
        type=at("TypBord"),
        pieces=count(element, "Piece"),
        amount=amount(at(block.domain.amount)),
        element_id=element.get("Id", "")[:ID_CHARACTERS_MAX],
        is_signed=element.find(SIGNATURE) is not None,
    )

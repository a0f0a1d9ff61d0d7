"""Decides what DGFiP answers to one file: the controls it makes on receipt, then what the scenario asks for.

1. The bytes are XML, and the root is PES_Aller; if not, a technical refusal (domain 0) of the whole flux.
2. Signatures agree with InfoDematerialisee (helios.md 2.3); if not, the flux is refused.
3. An "empty" PES is never answered (helios.md 2.1).
4. The scenario: accept everything, refuse the flux, refuse a part of it, or say nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lxml import etree

from pes.reading.xml import PES_ALLER, SIGNATURE, UnreadableError, parse, read_prolog, value_at
from services.simulator import acquit
from services.simulator.acquit import Element, Error, write_acquit

ReplyKind = Literal["ack", "nack", "partial", "silent"]

_TRUE = frozenset({"1", "true"})
_DOMAINS = (
    (acquit.DEPENSE, "PES_DepenseAller", "EnTeteDepense", "BlocPiece/InfoPce/IdPce"),
    (acquit.RECETTE, "PES_RecetteAller", "EnTeteRecette", "BlocPiece/IdPce"),
)
_OTHER_DOMAINS = ((acquit.MARCHE, "PES_Marche"), (acquit.FACTURE, "PES_Facture"))
_CODES = {"empty": "ERREUR_FLUX_VIDE", "encoding": "ERREUR_ENCODING"}

_UNSIGNED = Error("ERREUR_SIGNATURE_BORDEREAU_INCOMPLETE", "Bordereau dématérialisé sans signature")
_SIGNED_ON_PAPER = Error("ERREUR_PES_SIGNATURE", "Signature présente alors que InfoDematerialisee vaut 0")
_ASKED = Error("ERREUR_PES_PARAM", "Flux refusé à la demande (scénario nack du simulateur)")
_BAD_PJ = Error("ERREUR_DOUBLON_PJ", "1984 Identifiant de PJ déjà intégré (scénario partial du simulateur)")
_BAD_BORDEREAU = Error("ERREUR_DOUBLON_BORDEREAU", "Bordereau déjà intégré (scénario partial du simulateur)")
_BAD_PIECE = Error("ERREUR_DOUBLON_PIECE", "Pièce déjà intégrée (scénario partial du simulateur)")


@dataclass(frozen=True)
class Answer:
    """What DGFiP answers: a PES_ACQUIT. `is_ok` when every EtatAck in it is 1."""

    document: bytes
    is_ok: bool
    codique: str


def answer(document: bytes, filename: str, reply: ReplyKind, reference: str = "") -> Answer | None:
    """Return the answer to one file; None for silence. Never raises, whatever the bytes are.

    See `write_acquit` for `reference`.
    """
    flux: etree._Element | None
    try:
        read_prolog(document)
        flux = parse(document)
    except UnreadableError as error:
        flux = _what_can_be_read(document) if error.code == "malformed" else None
        elements = [_technical(_CODES.get(error.code, "ERREUR_SCHEMA_INCOMPLET"), f"Fichier illisible : {error}")]
    else:
        elements = _judge(flux, reply)
    if not elements or reply == "silent":
        return None
    return Answer(
        document=write_acquit(flux, filename, elements, reference),
        is_ok=all(element.is_ok for element in elements),
        codique=value_at(flux, "EnTetePES/IdPost"),
    )


def _judge(flux: etree._Element, reply: ReplyKind) -> list[Element]:
    if flux.tag != PES_ALLER:
        return [_technical("ERREUR_SCHEMA_INCOMPLET", f"Racine {etree.QName(flux).localname} au lieu de PES_Aller")]
    if wrong := list(_wrong_signatures(flux)):
        return wrong
    elements = list(_elements(flux))
    if not elements:
        return []
    if reply == "nack":
        return [Element(acquit.PARAMETERS, errors=(_ASKED,))]
    return _spoil_one(flux, elements) if reply == "partial" else elements


def _what_can_be_read(document: bytes) -> etree._Element | None:
    """Return as much of a broken document as can be; its prolog was read, so it has no DOCTYPE."""
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, collect_ids=False
    )
    try:
        return etree.fromstring(document, parser)
    except etree.XMLSyntaxError:  # nothing at all
        return None


def _technical(code: str, label: str) -> Element:
    return Element(acquit.TECHNICAL, errors=(Error(code, label[:500]),))


def _wrong_signatures(flux: etree._Element) -> Iterator[Element]:
    signs_all = flux.find(SIGNATURE) is not None
    for _, domain, head, _ in _DOMAINS:
        is_dematerialised = value_at(flux, f"{domain}/{head}/InfoDematerialisee") in _TRUE
        for bordereau in flux.iterfind(f"{domain}/Bordereau"):
            is_signed = signs_all or bordereau.find(SIGNATURE) is not None
            if is_dematerialised != is_signed:
                error = _UNSIGNED if is_dematerialised else _SIGNED_ON_PAPER
                yield replace(_of_bordereau(acquit.BORDEREAU_SIGNATURE, bordereau), errors=(error,))


def _elements(flux: etree._Element) -> Iterator[Element]:
    """Yield one element for each part of the flux that DGFiP speaks of, all of them OK."""
    for code, domain, _, _ in _DOMAINS:
        for bordereau in flux.iterfind(f"{domain}/Bordereau"):
            yield _of_bordereau(code, bordereau)
    for code, domain in _OTHER_DOMAINS:
        if flux.find(domain) is not None:
            yield Element(code)
    for pj in flux.iterfind("PES_PJ/PJ"):
        yield Element(acquit.PJ, id_unique=value_at(pj, "IdUnique"))


def _of_bordereau(domain: int, bordereau: etree._Element) -> Element:
    bloc = bordereau.find("BlocBordereau")
    return Element(domain, number=value_at(bloc, "IdBord"), exercice=value_at(bloc, "Exer"))


def _spoil_one(flux: etree._Element, elements: Sequence[Element]) -> list[Element]:
    """Refuse the last element, down to its first pièce; alone, it makes the refusal a whole one."""
    *others, last = elements
    if last.domain == acquit.PJ:
        return [*others, replace(last, errors=(_BAD_PJ,))]
    pieces = ((number, _BAD_PIECE),) if (number := _first_piece(flux, last)) else ()
    return [*others, replace(last, errors=(_BAD_BORDEREAU,), pieces=pieces)]


def _first_piece(flux: etree._Element, element: Element) -> str:
    for code, domain, _, path in _DOMAINS:
        if code == element.domain:
            return value_at(flux.findall(f"{domain}/Bordereau")[-1], f"Piece/{path}")
    return ""

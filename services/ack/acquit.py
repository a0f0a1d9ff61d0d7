"""Reads what DGFiP answers to a flux: PES_ACQUIT, both generations of its schema, and PES_NonAcquit (helios.md 7).

There is no overall flag in an answer: the verdict is computed from the EtatAck of every element (7.2).

1. A document that is not an answer to a flux, or cannot be read safely, has no verdict, and a reason.
2. PES_NonAcquit is a refusal of the whole.
3. An answer without elements, or with an EtatAck that is neither true nor false, has no verdict, and a reason.
4. An element of a technical domain that is KO refuses the whole flux.
5. Otherwise all OK is acknowledged, all KO is rejected, and a mix is partially rejected.

Anomalies are collected wherever they stand: on the element, its pieces, their lignes. They never change a verdict.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Literal

from lxml import etree

from pes.reading.xml import ACQUIT_V1, ACQUIT_V2, UnreadableError, parse, read_prolog, value_at
from shared.facts.values import RefusedBordereau, ReplyError, Verdict

# At its largest, a fact must still be carried by Kafka (`MESSAGE_BYTES_MAX`); the document keeps everything.
ERRORS_MAX = 1000
BORDEREAUX_MAX = 1000  # as many as a flux has at most
LABEL_CHARACTERS_MAX = 500  # LibelleAnoAck, in both schemas
FIELD_CHARACTERS_MAX = 50  # IdUnique; every other field that is read here is shorter
HEAD_BYTES = 64 * 1024  # where the root element is looked for

_ACQUIT = frozenset({f"{{{ACQUIT_V1}}}PES_ACQUIT", f"{{{ACQUIT_V2}}}PES_ACQUIT"})
_NON_ACQUIT = "PES_NonAcquit"
_TECHNICAL = frozenset({"0", "1", "2", "3", "99"})  # technique, the three of signature, paramétrage (7.1)
_BORDEREAUX: dict[str, Literal["depense", "recette"]] = {"5": "depense", "6": "recette"}  # 7.1
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}  # xs:boolean
_NO_REASON_GIVEN = "Hélios n’a pas indiqué de motif."

_UNREADABLE = {
    "empty": "Le fichier ne contient que des blancs.",
    "not-xml": "Le fichier n’est pas un document XML : ce n’est pas une réponse d’Hélios à un flux.",
    "doctype": "Le fichier contient une déclaration DOCTYPE, que les réponses d’Hélios n’ont jamais : "
    "il n’a pas été lu, par sécurité.",
    "encoding": "L’encodage du fichier n’est pas accepté : les réponses d’Hélios sont en ISO-8859-1.",
    "malformed": "Le fichier est tronqué ou mal formé.",
}
_OCRE = frozenset({".ocr", ".ocre"})


@dataclass(frozen=True)
class Reading:
    """What was read in one file from DGFiP.

    Attributes:
        nomfic: the NomFic of the flux that it answers, as are `cod_col`, `cod_bud`, `id_post` and `emitted_on` (its
            DteStr); empty if not said.
        verdict: none when no verdict can be drawn from it; `reason` says why then, in French.
    """

    nomfic: str = ""
    cod_col: str = ""
    cod_bud: str = ""
    id_post: str = ""
    emitted_on: str = ""
    verdict: Verdict | None = None
    errors: tuple[ReplyError, ...] = ()
    refused: tuple[RefusedBordereau, ...] = ()
    reason: str = ""


def read_reply(document: bytes, remote_name: str) -> Reading:
    """Read one file from DGFiP. Never raises: whatever is wrong with it is the reason for having no verdict.

    Args:
        document: the bytes as received; not trusted.
        remote_name: the name they had. Only used to explain what cannot be read: the content alone decides.
    """
    try:
        read_prolog(document)
        if other := _another_root(document):  # a PES_Retour can be large: it is not parsed for nothing
            return Reading(reason=_wrong_root(other))
        root = parse(document)
    except UnreadableError as error:
        return Reading(reason=_unreadable(error, remote_name))
    if not _is_answer(str(root.tag)):
        return Reading(reason=_wrong_root(str(root.tag)))
    return _read_answer(root)


def _another_root(document: bytes) -> str:
    """Return the tag of the root element if it is at hand and no answer's; otherwise nothing, and the whole tells."""
    parser = etree.XMLPullParser(events=("start",), resolve_entities=False, no_network=True, load_dtd=False)
    try:
        parser.feed(document[:HEAD_BYTES])
    except etree.XMLSyntaxError:
        return ""
    for _, element in parser.read_events():
        tag = str(element.tag)
        return "" if _is_answer(tag) else tag
    return ""


def _is_answer(tag: str) -> bool:
    return tag in _ACQUIT or etree.QName(tag).localname == _NON_ACQUIT


def _read_answer(root: etree._Element) -> Reading:
    verdict, reason = _verdict(root)
    return Reading(
        nomfic=value_at(root, "Enveloppe/Parametres/NomFic"),
        cod_col=value_at(root, "EnTetePES/CodCol"),
        cod_bud=value_at(root, "EnTetePES/CodBud"),
        id_post=value_at(root, "EnTetePES/IdPost"),
        emitted_on=value_at(root, "EnTetePES/DteStr"),
        verdict=verdict,
        errors=_bounded(_errors(root)),
        refused=tuple(islice(_refused(root), BORDEREAUX_MAX)),
        reason=reason,
    )


def _verdict(root: etree._Element) -> tuple[Verdict | None, str]:
    if root.tag not in _ACQUIT:
        return "rejected", ""
    states: list[bool] = []
    is_refused_whole = False
    for element in _elements(root):
        said = value_at(element, "EtatAck")
        state = _BOOLEANS.get(said)
        if state is None:
            return None, _unknown_state(said, element)
        states.append(state)
        is_refused_whole |= not state and value_at(element, "DomaineAck") in _TECHNICAL
    if not states:
        return None, "La réponse ne contient aucun ElementACQUIT : elle n’accepte ni ne refuse rien."
    if is_refused_whole or not any(states):
        return "rejected", ""
    return ("acknowledged" if all(states) else "partially_rejected"), ""


def _elements(root: etree._Element) -> Iterator[etree._Element]:
    return root.iterfind("ACQUIT/ElementACQUIT")


def _errors(root: etree._Element) -> Iterator[ReplyError]:
    if root.tag not in _ACQUIT:
        # No schema of PES_NonAcquit is known: anomalies are recognised by the two fields that carry them.
        for element in root.iter(etree.Element):
            yield from _stated(element, ReplyError(domain="", code="", label=""))
        return
    for element in _elements(root):
        errors = _errors_of(element)
        first = next(errors, None)
        if first is not None:
            yield first
            yield from errors
        elif _BOOLEANS.get(value_at(element, "EtatAck")) is False:
            yield _place(element).model_copy(update={"label": _NO_REASON_GIVEN})


def _errors_of(element: etree._Element) -> Iterator[ReplyError]:
    """Yield the anomalies of one ElementACQUIT: v1 has them flat, v2 in Erreur, DetailPiece and DetailLigne."""
    place = _place(element)
    yield from _stated(element, place)
    for error in element.iterfind("Erreur"):
        yield from _stated(error, place)
    for piece in element.iterfind("DetailPiece"):
        of_piece = place.model_copy(update={"piece": _field(piece, "NumPiece")})
        for error in piece.iterfind("Erreur"):
            yield from _stated(error, of_piece)
        for ligne in piece.iterfind("DetailLigne"):
            of_ligne = of_piece.model_copy(update={"ligne": _field(ligne, "NumLigne")})
            for error in ligne.iterfind("Erreur"):
                yield from _stated(error, of_ligne)


def _refused(root: etree._Element) -> Iterator[RefusedBordereau]:
    """Yield the bordereaux whose EtatAck is KO; an anomaly stated of one that was taken is no refusal."""
    for element in _elements(root):
        domain = _BORDEREAUX.get(_field(element, "DomaineAck"))
        number, exercice = _field(element, "NumBord"), _field(element, "ExerciceBord")
        if domain and number and exercice and _BOOLEANS.get(value_at(element, "EtatAck")) is False:
            yield RefusedBordereau(domain=domain, exercice=exercice, number=number)


def _place(element: etree._Element) -> ReplyError:
    """Return an anomaly without its text, at the place that an ElementACQUIT speaks of."""
    return ReplyError(
        domain=_field(element, "DomaineAck"),
        code="",
        label="",
        bordereau=_field(element, "NumBord"),
        exercice=_field(element, "ExerciceBord"),
        piece=_field(element, "NumPiece"),
        ligne=_field(element, "NumLigne"),
        id_unique=_field(element, "IdUnique"),
    )


def _stated(element: etree._Element, place: ReplyError) -> Iterator[ReplyError]:
    code = _field(element, "NumAnoAck")
    label = value_at(element, "LibelleAnoAck")[:LABEL_CHARACTERS_MAX]
    if code or label:
        yield place.model_copy(update={"code": code, "label": label})


def _field(element: etree._Element, path: str) -> str:
    return value_at(element, path)[:FIELD_CHARACTERS_MAX]


def _bounded(errors: Iterable[ReplyError]) -> tuple[ReplyError, ...]:
    errors = iter(errors)
    kept = tuple(islice(errors, ERRORS_MAX))
    left_out = sum(1 for _ in errors)
    if not left_out:
        return kept
    label = f"Et {left_out} autres anomalies : elles sont dans le fichier de la réponse."
    return (*kept, ReplyError(domain="", code="", label=label))


def _unknown_state(said: str, element: etree._Element) -> str:
    found = f"vaut « {said[:FIELD_CHARACTERS_MAX]} »" if said else "est absent"
    return f"Un EtatAck {found} (ligne {element.sourceline}) ; il est attendu : 0, 1, true ou false."


def _wrong_root(tag: str) -> str:
    name = etree.QName(tag).localname
    if name == "PES_Retour":
        return "C’est un PES Retour : il est conservé tel quel, et n’est pas encore lu par la plateforme."
    if name == "PES_ACQUIT":
        return f"C’est un PES_ACQUIT d’une version inconnue (racine {tag[:200]}) : il est conservé tel quel."
    return f"Ce n’est pas une réponse d’Hélios à un flux : la racine du document est {tag[:200]}."


def _unreadable(error: UnreadableError, remote_name: str) -> str:
    if PurePosixPath(remote_name).suffix.lower() in _OCRE:
        return "C’est un fichier OCRE (ancien format) : il est conservé tel quel, et n’est pas lu par la plateforme."
    where = f" (ligne {error.line})" if error.line and error.code == "malformed" else ""
    return f"{_UNREADABLE[error.code]}{where}"

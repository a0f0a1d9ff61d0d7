"""Finds what must be signed in a PES Aller, and at which byte each signature goes.

lxml does not tell bytes. So it reads the document (and refuses what is not well formed), and the tags of bordereaux
are found in the bytes, past comments, CDATA and processing instructions: the first start tag is that of the first
bordereau that lxml met, and so on.

Clauses are those of ``docs/helios.md``, section 5.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lxml import etree

from pes.reading.xml import PES_ALLER, SIGNATURE, UNREADABLE, UnreadableError, read

BORDEREAU: Final = "Bordereau"
# What xs:ID allows, and what keeps "#Id" a plain reference: "xpointer(/)" would be one to something else.
PLAIN_ID: Final = re.compile(r"[^\W\d][\w.\-]*")

Domain = Literal["", "depense", "recette"]
DOMAINS: Final[dict[str, Domain]] = {"PES_DepenseAller": "depense", "PES_RecetteAller": "recette"}
_IDS: Final = etree.XPath("descendant-or-self::*/@Id")
# Groups: "/" of an end tag, the attributes of a start tag. Nothing is tried twice: a match costs what it is long.
_NO_TAG: Final = rb"<!--(?>.*?-->)|<!\[CDATA\[(?>.*?\]\]>)|<\?(?>.*?\?>)"
_TAG: Final = re.compile(
    _NO_TAG + rb"""|<(?P<end>/?)Bordereau(?=[\s/>])(?P<rest>(?:[^>"']++|"[^"]*+"|'[^']*+')*+)>""", re.DOTALL
)


class UnsignableError(ValueError):
    """This document cannot be signed as it is; the message, in French, is for the person who deposited it."""


@dataclass(frozen=True)
class Target:
    """One element to sign: a bordereau, or the root when the signature is global."""

    element_id: str
    offset: int
    """The byte where the element's end tag starts: its signature goes right before it."""
    is_signed: bool
    is_global: bool
    domain: Domain = ""
    """The domain of a bordereau; empty for the root."""


@dataclass(frozen=True)
class Outline:
    """A document as it was read once: what must be signed in it, and what the next steps need of it."""

    root: etree._Element
    ids: frozenset[str]
    targets: tuple[Target, ...]


def targets(document: bytes) -> list[Target]:
    """Find what must be signed (5.2): each bordereau, or else the whole flux.

    A flux that already carries a global signature has that one target, whatever its bordereaux carry:
    a signature added to one of them would break it.

    Returns:
        In document order. ``element_id`` is empty only for a root signed by an empty reference (5.7).

    Raises:
        UnsignableError: not a PES Aller, nothing to sign in it, or Ids missing or ambiguous.
    """
    return list(read_outline(document).targets)


def read_outline(document: bytes) -> Outline:
    """Read a document, for those who go on to prepare its signatures; see ``targets``.

    Raises:
        UnsignableError: as ``targets``.
    """
    try:
        root = read(document)
    except UnreadableError as error:
        raise unreadable(error) from error
    if root.tag != PES_ALLER:
        raise UnsignableError(
            "Ce fichier n’est pas un PES Aller : seuls les PES Aller se signent ici. Vérifiez le fichier déposé."
        )
    ids = _ids(root)
    return Outline(root, ids, tuple(_targets(document, root)))


def unsigned_of(found: Sequence[Target]) -> list[Target]:
    """Return what is not signed yet.

    Raises:
        UnsignableError: everything is.
    """
    unsigned = [target for target in found if not target.is_signed]
    if not unsigned:
        raise UnsignableError(
            "Tout est déjà signé dans ce fichier : il n’y a rien à signer. Vérifiez-le : heliotrope signature verify."
        )
    return unsigned


def _targets(document: bytes, root: etree._Element) -> list[Target]:
    domains = [one for one in root if one.tag in DOMAINS]
    if not domains:
        raise UnsignableError(
            "Le fichier ne contient ni dépense ni recette : il n’y a rien à signer. "
            "Déposez le fichier sans demander de signature."
        )
    if _is_signed(root):
        return [Target(root.get("Id", ""), _end_of_root(document, root), is_signed=True, is_global=True)]
    bordereaux = [one for domain in domains for one in domain.iterchildren(BORDEREAU)]
    without_id = sum(one.get("Id") is None for one in bordereaux)
    if bordereaux and not without_id:
        ends = _ends(document, root)
        return [_target(one, ends[one]) for one in bordereaux]
    if root.get("Id") is not None:
        _check_id(root.get("Id", ""))
        return [Target(root.get("Id", ""), _end_of_root(document, root), is_signed=False, is_global=True)]
    raise UnsignableError(
        f"Bordereaux sans attribut Id, {without_id} sur {len(bordereaux)} ; la racine PES_Aller n’en "
        "a pas non plus : la signature ne saurait désigner ce qu’elle signe. Demandez à l’éditeur du "
        "logiciel financier d’ajouter un Id à chaque bordereau, puis déposez le nouveau fichier."
    )


def _target(bordereau: etree._Element, end: int | None) -> Target:
    element_id, domain = bordereau.get("Id", ""), bordereau.getparent()
    _check_id(element_id)
    if end is None or domain is None:
        raise UnsignableError(
            f"Le bordereau « {element_id} » est vide : il ne peut pas porter de signature. "
            "Retirez-le dans le logiciel financier, puis déposez le nouveau fichier."
        )
    kind = DOMAINS[str(domain.tag)]
    return Target(element_id, end, is_signed=_is_signed(bordereau), is_global=False, domain=kind)


def _ids(root: etree._Element) -> frozenset[str]:
    values = [str(value) for value in _IDS(root)]
    ids = frozenset(values)
    if len(ids) < len(values):
        element_id = Counter(values).most_common(1)[0][0]
        raise UnsignableError(
            f"L’Id « {element_id} » est porté par plusieurs éléments : une signature ne saurait dire "
            "lequel elle signe. Demandez à l’éditeur du logiciel financier des Id uniques, "
            "puis déposez le nouveau fichier."
        )
    return ids


def _check_id(element_id: str) -> None:
    if not PLAIN_ID.fullmatch(element_id):
        raise UnsignableError(
            f"L’Id « {element_id} » n’est pas un identifiant XML : une lettre ou « _ », puis des lettres, "
            "chiffres, « . », « - » ou « _ ». Demandez la correction à l’éditeur du logiciel financier, "
            "puis déposez le nouveau fichier."
        )


def _is_signed(element: etree._Element) -> bool:
    return next(element.iterchildren(SIGNATURE), None) is not None


def _ends(document: bytes, root: etree._Element) -> dict[etree._Element, int | None]:
    """Return at which byte the end tag of each <Bordereau> starts; None for one that has none (<Bordereau/>)."""
    written = [one for one in root.iter("{*}Bordereau") if one.prefix is None]
    ends: list[int | None] = []
    opened: list[int] = []
    for tag in _TAG.finditer(document):
        if tag["rest"] is None:
            continue  # a comment, CDATA or a processing instruction
        if tag["end"]:
            ends[opened.pop()] = tag.start()
            continue
        if not tag["rest"].endswith(b"/"):
            opened.append(len(ends))
        ends.append(None)
    return dict(zip(written, ends, strict=True))


def _end_of_root(document: bytes, root: etree._Element) -> int:
    """Return at which byte the end tag of the root starts: it is the last of its name."""
    name = f"{root.prefix}:PES_Aller" if root.prefix else "PES_Aller"
    tags = re.compile(_NO_TAG + rb"|(?P<end></" + re.escape(name.encode()) + rb"\s*+>)", re.DOTALL)
    ends = [tag.start() for tag in tags.finditer(document) if tag["end"]]
    if not ends:
        raise UnsignableError("Le fichier se termine par un élément vide : il n’y a rien à signer.")
    return ends[-1]


def unreadable(error: UnreadableError) -> UnsignableError:
    """Return the refusal of a document that cannot be read."""
    where = f" (ligne {error.line})" if error.line else ""
    said = UNREADABLE[error.code].removesuffix(".")
    return UnsignableError(f"{said}{where}. Déposez à nouveau le fichier produit par le logiciel financier.")

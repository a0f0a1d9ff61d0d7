"""Finds what must be signed in a PES Aller, and at which byte each signature goes.

lxml does not tell bytes; expat does. So expat reads the document for its outline, and nothing is built.
Clauses are those of the fact dossier, ``helios.md`` section 5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from shared.pes import ALLER, XMLDSIG, UnreadableError, read_prolog

_ROOT = f"{ALLER} PES_Aller"  # as expat joins them
_DOMAINS = frozenset({"PES_DepenseAller", "PES_RecetteAller"})
BORDEREAU = "Bordereau"
_SIGNATURE = f"{XMLDSIG} Signature"
# What xs:ID allows, and what keeps "#Id" a plain reference: "xpointer(/)" would be one to something else.
_PLAIN_ID = re.compile(r"[^\W\d][\w.\-]*")


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


def targets(document: bytes) -> list[Target]:
    """Find what must be signed (5.2): each bordereau, or else the whole flux.

    A flux that already carries a global signature has that one target, whatever its bordereaux carry:
    a signature added to one of them would break it.

    Returns:
        In document order. ``element_id`` is empty only for a root signed by an empty reference (5.7).

    Raises:
        UnsignableError: not a PES Aller, nothing to sign in it, or Ids missing or ambiguous.
    """
    outline = _Outline(document)
    if not outline.has_domain:
        raise UnsignableError(
            "Le fichier ne contient ni dépense ni recette : il n'y a rien à signer. "
            "Déposez le fichier sans demander de signature."
        )
    root, bordereaux = outline.root, outline.bordereaux
    if root.is_signed:
        return [Target(root.element_id or "", root.offset, is_signed=True, is_global=True)]
    without_id = sum(found.element_id is None for found in bordereaux)
    if bordereaux and not without_id:
        return [_target(document, found, is_global=False) for found in bordereaux]
    if root.element_id is not None:
        return [_target(document, root, is_global=True)]
    raise UnsignableError(
        f"{without_id} bordereau(x) sur {len(bordereaux)} sans attribut Id, et la racine PES_Aller n'en "
        "a pas non plus : la signature ne saurait désigner ce qu'elle signe. Demandez à l'éditeur du "
        "logiciel financier d'ajouter un Id à chaque bordereau, puis déposez le nouveau fichier."
    )


@dataclass(slots=True)
class _Found:
    name: str
    element_id: str | None
    is_signed: bool = False
    offset: int = -1


class _Outline:
    """The signable elements of one document, as expat meets them."""

    def __init__(self, document: bytes) -> None:
        self.root = _Found("", None)
        self.bordereaux: list[_Found] = []
        self.has_domain = False
        self._open: list[_Found] = []
        self._ids: set[str] = set()
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.StartElementHandler = self._on_start
        self._expat.EndElementHandler = self._on_end
        _read(self._expat, document)

    def _on_start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == _SIGNATURE and self._open:
            self._open[-1].is_signed = True
        element_id = attributes.get("Id")
        if element_id is not None:
            self._note_id(element_id)
        if not self._open and name != _ROOT:
            raise UnsignableError(
                "Ce fichier n'est pas un PES Aller : seuls les PES Aller se signent ici. Vérifiez le fichier déposé."
            )
        self._open.append(_Found(name, element_id))

    def _on_end(self, _name: str) -> None:
        found = self._open.pop()
        depth = len(self._open)
        if depth > 2:
            return
        found.offset = self._expat.CurrentByteIndex
        if depth == 0:
            self.root = found
        elif depth == 1 and found.name in _DOMAINS:
            self.has_domain = True
        elif depth == 2 and found.name == BORDEREAU and self._open[1].name in _DOMAINS:
            self.bordereaux.append(found)

    def _note_id(self, element_id: str) -> None:
        if element_id in self._ids:
            raise UnsignableError(
                f"L'Id « {element_id} » est porté par plusieurs éléments : une signature ne saurait dire "
                "lequel elle signe. Demandez à l'éditeur du logiciel financier des Id uniques, "
                "puis déposez le nouveau fichier."
            )
        self._ids.add(element_id)


def _target(document: bytes, found: _Found, *, is_global: bool) -> Target:
    element_id = found.element_id or ""
    if not _PLAIN_ID.fullmatch(element_id):
        raise UnsignableError(
            f"L'Id « {element_id} » n'est pas un identifiant XML : une lettre ou « _ », puis des lettres, "
            "chiffres, « . », « - » ou « _ ». Demandez la correction à l'éditeur du logiciel financier, "
            "puis déposez le nouveau fichier."
        )
    # Expat puts the end of <Bordereau/> after it, on whatever comes next. The root has children: it cannot
    # be self-closed.
    if not is_global and not document.startswith(b"</Bordereau", found.offset):
        raise UnsignableError(
            f"Le bordereau « {element_id} » est vide : il ne peut pas porter de signature. "
            "Retirez-le dans le logiciel financier, puis déposez le nouveau fichier."
        )
    return Target(element_id, found.offset, found.is_signed, is_global)


def _read(parser: expat.XMLParserType, document: bytes) -> None:
    try:
        read_prolog(document)  # no DOCTYPE; an encoding in which the ASCII we insert stands for itself
        parser.Parse(document, True)  # noqa: FBT003 - expat's "this is all of it" takes no keyword
    except UnsignableError:
        raise  # from a handler; it is a ValueError as well
    except (UnreadableError, expat.ExpatError, ValueError, LookupError) as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> UnsignableError:
    """Return the refusal of a document that cannot be read."""
    return UnsignableError(
        f"Le fichier n'est pas du XML lisible ({error}). "
        "Déposez à nouveau le fichier produit par le logiciel financier."
    )

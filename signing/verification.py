"""Says whether each signature of a document holds, whoever made it: the mathematics and the form, not the trust.

Theory of operation. A document is parsed once. Each ds:Signature in it, wherever it lies, goes through checks 1 to 17
of `signing.checks`. The first ones (`form`) bind the signature to the element that contains it: a
signature that refers to anything else, or whose Id could mean something else to another program, is refused before
its digests are looked at (signature wrapping). Only then are the digests and the value computed (`values`), with
lxml's exclusive canonicalisation and ``cryptography``. Who vouches for the certificate is the matter of `trust`.

The cost is one canonicalisation for each signed element, whatever the number of bordereaux.
"""

import re
from collections import Counter
from typing import Final

from lxml import etree

from pes.reading.xml import PES_ALLER, SIGNATURE, UNREADABLE, UnreadableError, read
from pes.vocabulary import Finding
from signing import checks
from signing.form import Reading, read_form, refusing
from signing.outline import BORDEREAU, DOMAINS
from signing.report import Classification, Report
from signing.values import check_values

SIGNATURES_MAX: Final = 10_000  # a PES holds some hundreds of bordereaux

# Other programs resolve "#Id" by Id, ID, id or xml:id: to each of them, a reference must mean one element. What
# follows the quote is looked at and not consumed: nothing that stands before an Id can hide it.
_ID_IN_LOWER_CASE: Final = re.compile(rb"""id\s*=\s*["'](?=([^"'<]*))""")
_ID_ATTRIBUTES: Final = etree.XPath("//@*[translate(local-name(), 'ID', 'id') = 'id']")


def verify(document: bytes) -> Report:
    """Verify every signature of a document (checks 1 to 17, and 22); nothing is said of trust yet.

    Args:
        document: any bytes; not trusted.

    Returns:
        Every signature in document order, with everything there is to say against it.
    """
    try:
        root = read(document)
    except UnreadableError as error:
        return Report(findings=(checks.READABLE.finding("", UNREADABLE[error.code], line=error.line),))
    found = list(root.iter(SIGNATURE))
    if len(found) > SIGNATURES_MAX:
        message = f"Le fichier contient {len(found)} signatures ; {SIGNATURES_MAX} au plus sont admises."
        return Report(findings=(checks.STRUCTURE.finding("", message),))
    siblings = Counter(signature.getparent() for signature in found)
    readings = [read_form(signature, siblings[signature.getparent()]) for signature in found]
    _refuse_ambiguous_ids(document, root, readings)
    classification, as_a_whole = _classify(root)
    if root.tag != PES_ALLER:
        message = f"Ce fichier n’est pas un PES Aller : sa racine est « {etree.QName(root).localname[:100]} »."
        as_a_whole = (checks.READABLE.finding("", message, severity="warning"), *as_a_whole)
    # A signature of the whole covers the others: its digest comes first, while they are all in their places.
    has_comments = b"<!--" in document
    for reading in sorted(readings, key=lambda one: not one.is_global):
        with refusing(reading):
            check_values(reading, has_comments=has_comments)
    return Report(tuple(reading.report() for reading in readings), classification, as_a_whole)


# --- Check 2: Ids ----------------------------------------------------------------------------------------------


def _refuse_ambiguous_ids(document: bytes, root: etree._Element, readings: list[Reading]) -> None:
    wanted = {one for reading in readings for one in reading.ids}
    if not wanted or _are_unique(document, wanted):
        return
    counts = Counter(str(value).strip() for value in _ID_ATTRIBUTES(root))
    for reading in readings:
        for one in dict.fromkeys(reading.ids):
            if counts[one] > 1:
                reading.say(
                    checks.IDENTIFIERS,
                    f"{counts[one]} éléments portent l’Id « {one} » : la signature ne désigne pas un seul contenu.",
                )


def _are_unique(document: bytes, wanted: set[str]) -> bool:
    """Say whether a look at the bytes is enough to know that no two elements have one of these Ids.

    Everything that could be an Id is looked at, in lower case: to find one twice proves nothing, to find each once
    does. An Id that could be written in several ways (a reference to a character, an accent) proves nothing either.
    """
    values = _ID_IN_LOWER_CASE.findall(document.lower())
    joined = b"".join(values)
    if b"&" in joined or not joined.isascii():
        return False
    counts = Counter(one.strip() for one in values)
    return all(one.isascii() and counts[one.lower().encode("ascii")] <= 1 for one in wanted)


# --- Check 22: coverage, and the family of the document ----------------------------------------------------------


def _classify(root: etree._Element) -> tuple[Classification, tuple[Finding, ...]]:
    """Say how the document is signed as a whole (5.7), and what lacks a signature."""
    bordereaux = [one for domain in root if domain.tag in DOMAINS for one in domain.iterchildren(BORDEREAU)]
    unsigned = [one for one in bordereaux if next(one.iterchildren(SIGNATURE), None) is None]
    is_global = next(root.iterchildren(SIGNATURE), None) is not None
    is_any_signed = len(unsigned) < len(bordereaux)
    if is_global:
        stated = {
            one.get("V", "")
            for name in ("EnTeteDepense", "EnTeteRecette")
            for one in root.iterfind(f"*/{name}/InfoDematerialisee")
        }
        is_business = stated == {"1"} and not is_any_signed
        return Classification.GLOBAL_BUSINESS if is_business else Classification.GLOBAL_TECHNICAL, ()
    if not is_any_signed:
        return Classification.UNSIGNED, ()
    if not unsigned:
        return Classification.BORDEREAUX, ()
    ids = [one.get("Id", "") or f"ligne {one.sourceline}" for one in unsigned]
    named = ", ".join(ids[:10]) + ("…" if len(ids) > 10 else "")
    message = f"Bordereaux non signés, {len(unsigned)} sur {len(bordereaux)} : {named}."
    return Classification.INCOMPLETE, (checks.COVERAGE.finding("", message),)

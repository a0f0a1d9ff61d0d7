"""What must not be repeated outside a PES: findings and synthèses are read by more people than the file.

A number of social security travels in clear in these files (helios.md 2.3), and so do bank accounts.
"""

from lxml import etree

from pes.reading.xml import value_at

MASK = "•••"
NIR = "04"  # NatIdTiers
_NOT_PEOPLE = frozenset({"01", "02", "03", "05"})  # SIRET, SIREN, FINESS, TVA: public registers


def is_private(element: etree._Element) -> bool:
    """Say whether a value is not to be repeated: the identifier of what may be a person, or an account."""
    name = etree.QName(element).localname
    if name == "IdTiers":
        return value_at(element, "../NatIdTiers") not in _NOT_PEOPLE
    return name in ("IBAN", "IdCpte")


def masked(text: str, value: str) -> str:
    """Return a text without a value, whole or cut."""
    for length in (len(value), 100):
        part = value[:length]
        if len(part) > 4:
            text = text.replace(part, MASK)
    return text


def masked_iban(iban: str) -> str:
    """Return an IBAN of which only the ends are shown."""
    return f"{iban[:4]}{MASK}{iban[-4:]}" if len(iban) > 8 else MASK

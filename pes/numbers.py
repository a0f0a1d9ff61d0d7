"""Numbers as PES writes them: "02", "2", "+2" and "2.0" are one number (helios.md 2.2), and compared as such."""

from decimal import Decimal, InvalidOperation

DIGITS_MAX = 30  # longer than any number of a PES may be: a hostile one would cost time
AMOUNT_CHARACTERS_MAX = 30  # longer than any amount may be (helios.md 2.2): a hostile one would cost time


def number_of(text: str) -> str:
    """Return a number as everybody writes it, without zeros in front; what is no number, as it is, without blanks."""
    stripped = text.strip()
    if len(stripped) > DIGITS_MAX:
        return stripped
    try:
        value = Decimal(stripped)
    except InvalidOperation:
        return stripped
    return str(int(value)) if value.is_finite() and value == value.to_integral_value() else stripped


def year_of(text: str) -> str:
    """Return the year in an xs:gYear, which may end with a time zone ("2026Z")."""
    return text.strip()[:4]


def amount(text: str) -> Decimal | None:
    """Return an amount exactly; none when it is not one."""
    try:
        found = Decimal(text) if len(text) <= AMOUNT_CHARACTERS_MAX else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None

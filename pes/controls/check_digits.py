"""The check digits of the identifiers that a PES carries: pure arithmetic, each with where its rule comes from."""

import re

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}")
_BIC = re.compile(r"[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?")
_NIR = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{8}")
# A letter of an account number counts for a figure (helios.md 2.3, the French RIB).
_RIB_LETTERS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "12345678912345678923456789")
_IBAN_LETTERS = str.maketrans({chr(code): str(code - 55) for code in range(ord("A"), ord("Z") + 1)})
_DOUBLED = str.maketrans("0123456789", "0246813579")  # twice a digit, and the sum of the digits of that
_LA_POSTE = "356000000"  # its établissements have a rule of their own: the sum of the digits


def has_luhn_key(digits: str) -> bool:
    """Say whether the last digit completes the others (Luhn, ISO/IEC 7812-1)."""
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def is_siren(text: str) -> bool:
    """Say whether this is a SIREN: 9 digits, the last one a key."""
    return len(text) == 9 and text.isascii() and text.isdigit() and has_luhn_key(text)


def is_siret(text: str) -> bool:
    """Say whether this is a SIRET: a SIREN and 5 digits, the last one a key over all of it."""
    if not (len(text) == 14 and text.isascii() and text.isdigit()):
        return False
    if text.startswith(_LA_POSTE) and sum(map(int, text)) % 5 == 0:
        return True
    return is_siren(text[:9]) and has_luhn_key(text)


def is_nir(text: str) -> bool:
    """Say whether this is a NIR: 13 characters and a key of two digits; Corsica's letters stand for 19 and 18."""
    if not _NIR.fullmatch(text):
        return False
    number = int(text[:13].replace("2A", "19").replace("2B", "18"))
    return int(text[13:]) == 97 - number % 97


def is_iban(text: str) -> bool:
    """Say whether this is an IBAN in capitals whose key is right (ISO 13616: modulo 97)."""
    return bool(_IBAN.fullmatch(text)) and int((text[4:] + text[:4]).translate(_IBAN_LETTERS)) % 97 == 1


def is_bic(text: str) -> bool:
    """Say whether this has the form of a BIC, in capitals (ISO 9362; helios.md 2.2)."""
    return bool(_BIC.fullmatch(text))


def is_rib(bank: str, branch: str, account: str, key: str) -> bool:
    """Say whether the four parts of a French RIB agree: 5, 5, 11 and 2 characters, the last ones a key.

    Zeros may be missing in front: programs that keep numbers drop them.
    """
    parts = (bank.zfill(5), branch.zfill(5), account.zfill(11), key.zfill(2))
    digits = "".join(parts).translate(_RIB_LETTERS)
    return len(digits) == 23 and digits.isascii() and digits.strip("0").isdigit() and int(digits) % 97 == 0

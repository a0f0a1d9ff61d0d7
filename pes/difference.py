"""The semantic difference of two versions of a flux: which pièces came, went or changed, and by how much.

It compares synthèses, not bytes: two exports that say the same in another order are the same. Numbers are compared as
numbers ("02" is "2", helios.md 2.2). The fields of the result are in `docs/synthese.md`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal

from pes.numbers import number_of
from pes.synthese import Json

_KEY = ("domain", "exercice", "bordereau_type", "bordereau", "number")
_COMPARED = ("type", "nature", "object", "amount", "attachments")
_OF_BORDEREAU = ("domain", "exercice", "type", "number")
_IN_BORDEREAU = ("emitted_on", "amount", "vat", "cumulative", "pieces_declared", "is_signed")
_OF_LIGNE = ("nature", "fonction", "operation", "amount", "vat", "label", "payment", "tiers", "attachments")

Key = tuple[str, ...]


def differences(old: Iterable[Json], new: Iterable[Json]) -> Json:
    """Compare the pièces of two versions.

    Args:
        old: the pièces of the first version (the pages of its synthèse, one after the other).
        new: those of the second.

    Returns:
        `added`, `removed` and `changed` pièces, and `totals` by domain before and after; ready for JSON.
    """
    before, after = _by_key(old), _by_key(new)
    changed = [
        {**_place(was), "changes": changes}
        for key, was in before.items()
        if key in after and (changes := list(_changes(was, after[key])))
    ]
    return {
        "added": [_shown(piece) for key, piece in after.items() if key not in before],
        "removed": [_shown(piece) for key, piece in before.items() if key not in after],
        "changed": changed,
        "unchanged": sum(key in after for key in before) - len(changed),
        "totals": _totals(before.values(), after.values()),
    }


def index_differences(old: Json, new: Json) -> Json:
    """Compare what two indices of synthèses say beside the pièces: the header, and each bordereau's own fields."""
    before, after = _bordereaux(old), _bordereaux(new)
    changed = [
        {**dict(zip(_OF_BORDEREAU, key, strict=True)), "changes": changes}
        for key in before.keys() & after.keys()
        if (changes := list(_fields(before[key], after[key], _IN_BORDEREAU)))
    ]
    header, other = old.get("header"), new.get("header")
    names = sorted(header) if isinstance(header, dict) else []
    return {
        "header": list(_fields(header, other, names)) if isinstance(header, dict) and isinstance(other, dict) else [],
        "bordereaux": sorted(changed, key=repr),
    }


def _bordereaux(index: Json) -> dict[Key, Json]:
    found: dict[Key, Json] = {}
    domains = index.get("domains")
    for domain in domains if isinstance(domains, list) else ():
        for one in domain.get("bordereaux", ()):
            key = (str(domain["domain"]), *(_number(one.get(name)) for name in _OF_BORDEREAU[1:]))
            found[key] = one
    return found


def _fields(was: Json, now: Json, names: Iterable[str]) -> Iterator[Json]:
    for name in names:
        if _value(was.get(name)) != _value(now.get(name)):
            yield {"field": name, "before": was.get(name), "after": now.get(name)}


def _by_key(pieces: Iterable[Json]) -> dict[Key, Json]:
    """Give each pièce a key; pièces that share one (which DGFiP would refuse) are told apart by their order."""
    found: dict[Key, Json] = {}
    seen: dict[Key, int] = defaultdict(int)
    for piece in pieces:
        key = tuple(_number(piece.get(name)) for name in _KEY)
        seen[key] += 1
        found[(*key, str(seen[key]))] = piece
    return found


def _changes(was: Json, now: Json) -> Iterator[Json]:
    yield from _fields(was, now, _COMPARED)
    before, after = _lignes(was), _lignes(now)
    for number in before.keys() | after.keys():
        one, other = before.get(number), after.get(number)
        if one is None or other is None:
            yield {"field": "ligne", "ligne": number[0], "before": one, "after": other}
            continue
        for name in _OF_LIGNE:
            if _value(one.get(name)) != _value(other.get(name)):
                yield {"field": name, "ligne": number[0], "before": one.get(name), "after": other.get(name)}


def _lignes(piece: Json) -> dict[tuple[str, int], Json]:
    found: dict[tuple[str, int], Json] = {}
    seen: dict[str, int] = defaultdict(int)
    lignes = piece.get("lignes")
    for ligne in lignes if isinstance(lignes, list) else ():
        number = _number(ligne.get("number"))
        seen[number] += 1
        found[number, seen[number]] = ligne
    return found


def _place(piece: Json) -> Json:
    return {name: piece.get(name) for name in _KEY}


def _shown(piece: Json) -> Json:
    return {**_place(piece), "object": piece.get("object"), "amount": piece.get("amount")}


def _totals(before: Iterable[Json], after: Iterable[Json]) -> Json:
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for side, pieces in enumerate((before, after)):
        for piece in pieces:
            sums[str(piece.get("domain"))][side] += Decimal(str(piece.get("amount") or 0))
    return {
        domain: {"before": str(was), "after": str(now), "difference": str(now - was)}
        for domain, (was, now) in sorted(sums.items())
    }


def _number(value: object) -> str:
    return number_of(str(value or ""))


def _value(value: object) -> object:
    """Return a value as it is compared: lists without their order, absent and empty as one."""
    if isinstance(value, list):
        return sorted(map(repr, value))
    return value or None

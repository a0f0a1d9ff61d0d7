"""Controls about tiers, their identifiers and their bank accounts (helios.md 2.2, 2.3). Listed in `controls`."""

from collections.abc import Callable, Iterator

from lxml import etree

from pes.controls.check_digits import is_bic, is_iban, is_nir, is_rib, is_siren, is_siret
from pes.controls.control import Hit
from pes.controls.document import shown
from pes.reading.aller import Aller, Block, column, rows
from pes.reading.privacy import NIR, masked_iban
from pes.reading.xml import value_at

_TIERS = "Bordereau/Piece/LigneDePiece/Tiers"
# NatIdTiers whose key DGFiP checks, and what each is.
_KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "01": ("un SIRET", is_siret),
    "02": ("un SIREN", is_siren),
    "04": ("un numéro de sécurité sociale", is_nir),
}
_IS_PERSON = "CatTiers/@V='01'"
_FRANCE = "100"
_TRUE = frozenset({"1", "true"})
_PARTS = ("CodeEtab", "CodeGuic", "IdCpte", "CleRib")


def identifier(aller: Aller) -> Iterator[Hit]:
    """The identifier of a tiers is of the kind that it says, and its key is right."""
    for block in aller.blocks:
        found = set(rows(block.element, f"{_TIERS}/InfoTiers", ("NatIdTiers", "IdTiers")))
        wrong = {(kind, value) for kind, value in found if value and not _is_right(kind, value)}
        for element in block.elements(f"{_TIERS}/InfoTiers[NatIdTiers]/IdTiers") if wrong else ():
            kind, value = value_at(element, "../NatIdTiers"), element.get("V", "")
            if (kind, value) in wrong:
                yield Hit(element, _wrong_identifier(kind, value))


def _is_right(kind: str, value: str) -> bool:
    return kind not in _KINDS or _KINDS[kind][1](value)


def _wrong_identifier(kind: str, value: str) -> str:
    # A NIR is not repeated: the message is read by more people than the file (helios.md 2.3).
    found = "est faux" if kind == NIR else f"vaut {shown(value)}"
    return f"IdTiers {found} : NatIdTiers dit {kind}, et ce n’est pas {_KINDS[kind][0]} valide."


def person(aller: Aller) -> Iterator[Hit]:
    """A person has a Civilite and a Prenom."""
    for block in aller.blocks:
        for element in block.elements(f"{_TIERS}/InfoTiers[{_IS_PERSON}][not(Civilite) or not(Prenom)]"):
            missing = [name for name in ("Civilite", "Prenom") if element.find(name) is None]
            are_needed = " et ".join(missing) + (" sont obligatoires" if len(missing) > 1 else " est obligatoire")
            yield Hit(element, f"Le tiers est une personne physique (CatTiers 01) : {are_needed}.")


def country(aller: Aller) -> Iterator[Hit]:
    """CodPays is there for who lives abroad, and only for them."""
    for block in aller.blocks:
        for element in block.elements(f"{_TIERS}/Adresse[CodPays or CodRes/@V!='0']"):
            value = value_at(element, "CodPays")
            lives_abroad = value_at(element, "CodRes") in _TRUE
            if lives_abroad and not value:
                yield Hit(element, "Le tiers n’est pas résident (CodRes 1) : CodPays est obligatoire.")
            elif not lives_abroad and value not in ("", _FRANCE):
                yield Hit(element, f"Le tiers est résident (CodRes 0), mais CodPays vaut {shown(value)}.")


def iban(aller: Aller) -> Iterator[Hit]:
    """Every IBAN is in capitals, and its key is right."""
    for block in aller.blocks:
        for element in _wrong(block, f"{_TIERS}/CpteBancaire/IBAN", is_iban):
            value = element.get("V", "")
            is_badly_written = is_iban("".join(value.upper().split()))
            why = "écrivez-le en majuscules, sans blanc" if is_badly_written else "sa clé de contrôle est fausse"
            yield Hit(element, f"L’IBAN {masked_iban(value)} n’est pas valide : {why}.")


def bic(aller: Aller) -> Iterator[Hit]:
    """Every BIC is in capitals, and has the form of one."""
    for block in aller.blocks:
        for element in _wrong(block, f"{_TIERS}/CpteBancaire/BIC", is_bic):
            yield Hit(
                element, f"Le BIC {shown(element.get('V', ''))} n’est pas valide : 8 ou 11 caractères, en majuscules."
            )


def rib(aller: Aller) -> Iterator[Hit]:
    """The four parts of a RIB are there together, and agree."""
    some = " or ".join(_PARTS)
    for block in aller.blocks:
        for element in block.elements(f"{_TIERS}/CpteBancaire[{some}]"):
            parts = {name: value_at(element, name) for name in _PARTS}
            missing = [name for name, value in parts.items() if not value]
            if missing:
                yield Hit(element, f"Le RIB est incomplet : il manque {', '.join(missing)}.")
            elif not is_rib(*parts.values()):
                yield Hit(element, "Le RIB n’est pas valide : sa clé (CleRib) ne correspond pas aux autres valeurs.")


def _wrong(block: Block, path: str, is_right: Callable[[str], bool]) -> Iterator[etree._Element]:
    """Yield the elements at a path whose value is wrong; each different value is looked at once."""
    values = set(column(block.element, f"{path}/@V"))
    wrong = {value for value in values if not is_right(value)}
    if wrong:
        yield from (element for element in block.elements(path) if element.get("V") in wrong)

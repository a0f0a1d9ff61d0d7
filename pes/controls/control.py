"""What a control is: a code, how serious it is, what it checks, where the rule comes from, and a pure function."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lxml import etree

from pes.reading.aller import Aller
from pes.vocabulary import Severity, Who


class Hit(NamedTuple):
    """One place where a control is not satisfied, and what is wrong there, in French."""

    element: etree._Element
    message: str


Find = Callable[[Aller], Iterable[Hit]]


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        code: stable; scripts and policies rely on it.
        severity: unless the policy of the collectivité says otherwise.
        checks: what must be so, in French.
        source: the paragraph of docs/helios.md, and DGFiP's or S2LOW's own reference where there is one.
        who: who can act.
        next: what to do about it, in French.
        find: yields where it is not so; none for the controls that are not about one document (`judge`, `decide`).
        is_fixed: no policy may relax it.
    """

    code: str
    severity: Severity
    checks: str
    source: str
    who: Who
    next: str
    find: Find | None = None
    is_fixed: bool = False

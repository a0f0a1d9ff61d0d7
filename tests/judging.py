"""Judging files in tests: a sample, changed as text, and what comes of it."""

import re
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

from pes.judge import Judgement, Rules, judge
from pes.sample import SampleSpec, build_sample
from pes.schemas.packs import CompiledPack, built_in

SIREN = SampleSpec().siret[:9]
TODAY = date(2026, 11, 24)

Change = Callable[[str], str]


@cache
def pack() -> CompiledPack:
    """Return the pack that comes with the platform, compiled."""
    return CompiledPack(built_in())


def judged(content: bytes, *, collectivite: str = SIREN, **rules: Any) -> Judgement:
    """Judge bytes with the pack that comes with the platform."""
    return judge(content, Rules(packs=(pack(),), **rules), collectivite=collectivite, today=TODAY)


def judged_sample(*changes: Change, **spec: Any) -> Judgement:
    """Judge a sample, changed as text."""
    return judged(changed_sample(*changes, **spec))


def changed_sample(*changes: Change, **spec: Any) -> bytes:
    """Return a sample, changed as text."""
    text = build_sample(SampleSpec(**spec)).decode("latin-1")
    for change in changes:
        text = change(text)
    return text.encode("latin-1")


def replacing(pattern: str, text: str, *, count: int = 1) -> Change:
    """Return a change that replaces what a pattern finds, which must be there."""

    def change(content: str) -> str:
        changed, found = re.subn(pattern, lambda _: text, content, count=count, flags=re.DOTALL)
        assert found, pattern
        return changed

    return change


def codes(judgement: Judgement, severity: str = "blocking") -> set[str]:
    """Return the codes of the findings of one severity."""
    return {finding.code for finding in judgement.findings if finding.severity == severity}

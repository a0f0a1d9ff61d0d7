"""The dialect of a version: it tells versions apart by what they read, and nothing else."""

from collections.abc import Callable
from typing import Literal

import pytest

from shared.facts import flux as facts
from shared.facts.dialect import own_dialect
from shared.facts.fact import kind_of
from shared.facts.lifecycles.flux import TRANSITIONS, State
from shared.facts.streams import BY_KIND


class FluxCancelled(facts.FluxCancelled):
    """As an older version has it, to which fewer values are known."""

    reason: Literal["erreur"]


def without_a_kind(older: pytest.MonkeyPatch) -> None:
    older.delitem(BY_KIND, kind_of(facts.FluxCancelled))


def without_a_value(older: pytest.MonkeyPatch) -> None:
    older.setitem(BY_KIND, kind_of(facts.FluxCancelled), FluxCancelled)


def without_a_place(older: pytest.MonkeyPatch) -> None:
    older.setitem(TRANSITIONS, State.IMPORTED, {facts.FluxValidated: State.DRAFT})


def test_a_version_has_one_dialect() -> None:
    assert own_dialect() == own_dialect() != ""


@pytest.mark.parametrize("become_older", [without_a_kind, without_a_value, without_a_place])
def test_a_version_that_reads_less_has_another(
    become_older: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = own_dialect()
    with monkeypatch.context() as older:
        become_older(older)
        assert own_dialect() != newer
    assert own_dialect() == newer

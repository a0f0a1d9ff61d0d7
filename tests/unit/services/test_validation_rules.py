"""What is decided on packs and on controls: facts, nothing when it is so already, or a refusal."""

from datetime import date

import pytest

from pes.schemas.packs import BUILT_IN
from pes.vocabulary import Pack
from services.validation.rules import change, install, set_severity
from shared.errors import RequestRefusedError
from shared.facts.collectivite import CollectiviteOpened, PolicySet
from shared.facts.fact import Fact
from shared.facts.lifecycles.platform import Platform, fold
from shared.facts.platform import PackChanged, PackInstalled, PackUse
from tests import examples as an

OURS = Pack(pack_id=BUILT_IN, digest="b" * 64)
PACK_ID = an.pack_installed.pack.pack_id
JANUARY, MARCH = date(2026, 1, 1), date(2026, 3, 1)
RELAXED = PolicySet(code="pes.siret", severity="warning", reason="pour voir")


def changed(
    known: Platform, pack_id: str = PACK_ID, *, use: PackUse | None = None, until: date | None = None
) -> list[Fact]:
    return change(known, pack_id, use=use, effective_from=None, effective_until=until, reason="essai", built_in=OURS)


def test_a_pack_is_installed_once() -> None:
    assert install(Platform(), an.pack_installed, OURS) == [an.pack_installed]
    assert install(fold([an.pack_installed]), an.pack_installed, OURS) == []
    assert install(fold([an.pack_installed, an.pack_changed]), an.pack_installed, OURS) == []


@pytest.mark.parametrize(
    ("known", "pack_id"), [(fold([an.pack_installed]), PACK_ID), (Platform(), BUILT_IN)], ids=["another", "ours"]
)
def test_two_packs_never_have_one_name(known: Platform, pack_id: str) -> None:
    other = PackInstalled(pack=Pack(pack_id=pack_id, digest="e" * 64), use="active", effective_from=JANUARY)
    with pytest.raises(RequestRefusedError, match="Un autre pack"):
        install(known, other, OURS)


def test_a_change_says_how_the_pack_applies_from_now_on() -> None:
    known = fold([an.pack_installed])
    (told,) = changed(known, use="active", until=MARCH)
    assert told == PackChanged(
        pack_id=PACK_ID, use="active", effective_from=JANUARY, effective_until=MARCH, reason="essai"
    )
    after = fold([an.pack_installed, told])
    assert changed(after, use="active", until=MARCH) == []
    (endless,) = changed(after)
    assert endless == PackChanged(pack_id=PACK_ID, use="active", effective_from=JANUARY, reason="essai")


def test_the_pack_that_comes_with_the_platform_is_installed_by_the_first_change() -> None:
    first, second = changed(Platform(), BUILT_IN, use="inactive")
    assert isinstance(first, PackInstalled)
    assert isinstance(second, PackChanged)
    assert (first.pack, first.use, second.use) == (OURS, "active", "inactive")
    assert changed(Platform(), BUILT_IN) == []  # it applies so already
    assert len(changed(fold([first, second]), BUILT_IN, use="active")) == 1


def test_a_pack_that_is_not_there_or_would_end_before_it_begins_is_not_changed() -> None:
    with pytest.raises(RequestRefusedError, match="Aucun pack"):
        changed(Platform())
    with pytest.raises(RequestRefusedError, match="précède"):
        changed(fold([an.pack_installed]), until=JANUARY)
    with pytest.raises(RequestRefusedError, match="précède"):
        install(Platform(), an.pack_installed.model_copy(update={"effective_until": JANUARY}), OURS)


def test_the_first_word_on_a_control_opens_the_collectivite() -> None:
    opened = CollectiviteOpened(siren=an.collectivite, reason="pour voir")
    assert set_severity([], an.collectivite, "pes.siret", "warning", "pour voir") == [opened, RELAXED]
    assert set_severity([opened], an.collectivite, "pes.siret", "warning", "pour voir") == [RELAXED]
    assert set_severity([], "*", "pes.siret", "warning", "pour voir") == [RELAXED]


def test_a_control_said_twice_in_a_row_is_said_once() -> None:
    taken_back = RELAXED.model_copy(update={"severity": None})
    assert set_severity([RELAXED], "*", "pes.siret", "warning", "pour voir") == []
    assert set_severity([RELAXED], "*", "pes.siret", "warning", "pour mieux voir") == []
    assert set_severity([RELAXED, taken_back], "*", "pes.siret", "warning", "pour voir") == [RELAXED]
    assert set_severity([RELAXED], "*", "schema", "warning", "pour voir") != []


@pytest.mark.parametrize(("code", "said"), [("absent", "Aucun contrôle"), ("reader.doctype", "assoupli")])
def test_a_control_that_is_unknown_or_fixed_stays_as_it_is(code: str, said: str) -> None:
    with pytest.raises(RequestRefusedError, match=said):
        set_severity([], an.collectivite, code, "warning", "pour voir")

"""Rights: which role may do what, in which collectivité, and what those read who may not."""

from collections.abc import Mapping

import pytest

from shared.errors import RequestRefusedError, Why
from shared.facts.streams import EVERY_COLLECTIVITE, UNATTRIBUTED
from shared.web.auth import ROLES_WITH, Caller, Right, Role

OWN, OTHER, THIRD = "213499908", "219900017", "219900025"
# As the people of a collectivité know it; written once more, so that a slip in the table does not pass unseen.
EXPECTED: Mapping[Role, str] = {
    Role.GESTIONNAIRE: "read send approve delegate",
    Role.SIGNATAIRE: "read sign approve delegate",
    Role.ADMINISTRATEUR: "read send approve delegate administer",
    Role.AUDITEUR: "read",
    Role.OPERATOR: "read send delegate administer operate",
}


def caller(**roles: Role) -> Caller:
    """Return someone with one role in each of some collectivités: `own`, `other`, `star`."""
    named = {"own": OWN, "other": OTHER, "star": EVERY_COLLECTIVITE}
    return Caller("amina", {named[where]: frozenset({role}) for where, role in roles.items()})


NOBODY = Caller("amina", {})


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", Right)
def test_each_role_gives_its_rights_where_it_is_held_and_nowhere_else(right: Right, role: Role) -> None:
    is_given = right in EXPECTED[role].split()
    here = caller(own=role)
    assert here.may(right, OWN) is is_given
    assert not here.may(right, OTHER)
    assert not here.may(right, EVERY_COLLECTIVITE)
    assert not here.may(right, UNATTRIBUTED)
    assert here.perimeter(right) == (frozenset({OWN}) if is_given else frozenset())
    everywhere = caller(star=role)
    assert [everywhere.may(right, one) for one in (OWN, OTHER, EVERY_COLLECTIVITE, UNATTRIBUTED)] == [is_given] * 4
    assert everywhere.perimeter(right) == (None if is_given else frozenset())


@pytest.mark.parametrize("elsewhere", Role)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", Right)
def test_a_role_held_elsewhere_adds_nothing_here(right: Right, role: Role, elsewhere: Role) -> None:
    assert caller(own=role, other=elsewhere).may(right, OWN) is caller(own=role).may(right, OWN)


def test_roles_held_everywhere_add_to_those_held_in_one() -> None:
    who = caller(own=Role.SIGNATAIRE, star=Role.AUDITEUR)
    assert (who.perimeter(Right.READ), who.perimeter(Right.SIGN)) == (None, frozenset({OWN}))
    assert (who.may(Right.READ, OTHER), who.may(Right.SIGN, OTHER)) == (True, False)


def test_whoever_has_a_right_sees_what_it_is_about() -> None:
    assert all(roles <= ROLES_WITH[Right.READ] for roles in ROLES_WITH.values())
    assert set(ROLES_WITH) == set(Right)


def test_a_right_that_is_missing_is_refused_in_french() -> None:
    auditor = caller(own=Role.AUDITEUR, other=Role.GESTIONNAIRE)
    auditor.require(Right.SEND, OTHER, "envoyer un flux")
    with pytest.raises(RequestRefusedError, match="ne permet pas d’envoyer un flux") as refused:
        auditor.require(Right.SEND, OWN, "envoyer un flux")
    assert (refused.value.why, refused.value.slug) == (Why.NOT_ALLOWED, "forbidden")
    with pytest.raises(RequestRefusedError, match=f"pas accès à la collectivité {THIRD}"):
        auditor.require(Right.SEND, THIRD, "envoyer un flux")
    with pytest.raises(RequestRefusedError, match=r"celui de : hébergeur \(rôle operateur\)"):
        auditor.require(Right.OPERATE, EVERY_COLLECTIVITE, "installer un pack de schémas")


def test_what_concerns_no_collectivite_in_particular_takes_the_right_in_one() -> None:
    caller(own=Role.AUDITEUR).require_somewhere(Right.READ, "consulter les flux")
    caller(star=Role.AUDITEUR).require_somewhere(Right.READ, "consulter les flux")
    for who, right in ((NOBODY, Right.READ), (caller(own=Role.AUDITEUR), Right.SIGN)):
        with pytest.raises(RequestRefusedError, match="Votre rôle ne permet pas") as refused:
            who.require_somewhere(right, "consulter les flux")
        assert (refused.value.why, refused.value.slug) == (Why.NOT_ALLOWED, "forbidden")


@pytest.mark.parametrize(
    ("who", "asked", "chosen"),
    [
        (caller(own=Role.GESTIONNAIRE), "", OWN),
        (caller(own=Role.GESTIONNAIRE), OWN, OWN),
        (caller(own=Role.GESTIONNAIRE, other=Role.AUDITEUR), "", OWN),
        (caller(own=Role.GESTIONNAIRE, star=Role.AUDITEUR), "", OWN),
        (caller(own=Role.GESTIONNAIRE, other=Role.GESTIONNAIRE), OTHER, OTHER),
        (caller(star=Role.OPERATOR), THIRD, THIRD),
    ],
)
def test_whoever_sends_for_one_collectivite_need_not_name_it(who: Caller, asked: str, chosen: str) -> None:
    assert who.choose(asked, Right.SEND, "importer un flux") == chosen


@pytest.mark.parametrize(
    ("who", "asked", "why", "slug"),
    [
        (caller(own=Role.GESTIONNAIRE, other=Role.GESTIONNAIRE), "", Why.BADLY_FORMED, "collectivite-required"),
        (caller(star=Role.OPERATOR), "", Why.BADLY_FORMED, "collectivite-required"),
        (caller(star=Role.OPERATOR), "12", Why.BADLY_FORMED, "collectivite-invalid"),
        (caller(star=Role.OPERATOR), "²" * 9, Why.BADLY_FORMED, "collectivite-invalid"),
        (caller(star=Role.OPERATOR), "21349990800019", Why.BADLY_FORMED, "collectivite-invalid"),
        (caller(star=Role.OPERATOR), EVERY_COLLECTIVITE, Why.BADLY_FORMED, "collectivite-invalid"),
        (caller(own=Role.GESTIONNAIRE), OTHER, Why.NOT_ALLOWED, "forbidden"),
        (caller(own=Role.GESTIONNAIRE, other=Role.AUDITEUR), OTHER, Why.NOT_ALLOWED, "forbidden"),
        (caller(own=Role.AUDITEUR), "", Why.NOT_ALLOWED, "forbidden"),
        (caller(star=Role.AUDITEUR), OWN, Why.NOT_ALLOWED, "forbidden"),
        (NOBODY, "", Why.NOT_ALLOWED, "forbidden"),
        (NOBODY, OWN, Why.NOT_ALLOWED, "forbidden"),
    ],
)
def test_a_collectivite_that_cannot_be_chosen_is_refused(who: Caller, asked: str, why: Why, slug: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        who.choose(asked, Right.SEND, "importer un flux")
    assert (refused.value.why, refused.value.slug) == (why, slug)

"""The names that a flux takes: which, in which scope, and when it gives one up."""

import pytest

from shared.facts.fact import Fact
from shared.facts.reservations import (
    BORDEREAU,
    DELEGATION,
    DOCUMENT,
    IDEMPOTENCY_KEY,
    MANDATE,
    NOMFIC,
    RELEASED_BY,
    REPLY,
    TAKEN_BY,
    Release,
    Reservation,
    bordereau_reservation,
    nomfic_reservation,
    releases_of,
    reservations_of,
)
from shared.facts.values import RefusedBordereau
from tests import examples as an

OTHER = "111222333"


def test_an_import_takes_its_file_in_its_collectivite() -> None:
    assert reservations_of(an.imported, an.collectivite) == (
        Reservation(an.collectivite, DOCUMENT, an.document.sha256),
    )


def test_an_import_with_a_key_takes_the_key_before_the_file() -> None:
    keyed = an.imported.model_copy(update={"idempotency_key": "k"})
    assert reservations_of(keyed, an.collectivite) == (
        Reservation(an.collectivite, IDEMPOTENCY_KEY, "k"),
        Reservation(an.collectivite, DOCUMENT, an.document.sha256),
    )


def test_two_collectivites_never_take_each_other_s_names() -> None:
    keyed = an.imported.model_copy(update={"idempotency_key": "k"})
    assert set(reservations_of(keyed, an.collectivite)).isdisjoint(reservations_of(keyed, OTHER))


def test_a_reply_is_one_for_the_whole_platform_whatever_its_name() -> None:
    renamed = an.reply_received.model_copy(update={"remote_name": "another"})
    expected = (Reservation("dgfip", REPLY, an.reply.sha256),)
    assert reservations_of(an.reply_received, an.collectivite) == reservations_of(renamed, OTHER) == expected


def test_a_reply_that_counts_once_more_is_told_from_the_first_by_its_name() -> None:
    repeated = an.reply_received.model_copy(update={"is_repeated": True})
    renamed = repeated.model_copy(update={"remote_name": "another"})
    taken = [reservations_of(fact, an.collectivite) for fact in (an.reply_received, repeated, renamed)]
    assert len(set(taken)) == 3
    assert {name.kind for names in taken for name in names} == {REPLY}


def test_the_id_of_a_mandate_or_of_a_delegation_is_one_for_the_whole_platform() -> None:
    for fact, kind, taken in (
        (an.mandate_granted, MANDATE, an.mandate_granted.mandate_id),
        (an.delegation_given, DELEGATION, an.delegation_given.delegation_id),
    ):
        assert reservations_of(fact, an.collectivite) == (Reservation("*", kind, str(taken)),)
        assert reservations_of(fact, an.collectivite) == reservations_of(fact, OTHER)


def test_a_valid_flux_takes_its_nomfic_and_its_bordereaux_in_its_collectivite() -> None:
    bordereau, nomfic = reservations_of(an.validated, an.collectivite)
    assert (
        nomfic
        == nomfic_reservation(an.collectivite, an.header)
        == Reservation(an.collectivite, NOMFIC, f"123/{an.header.nomfic}")
    )
    assert bordereau == bordereau_reservation(an.collectivite, an.header, an.bordereau)
    assert (bordereau.scope, bordereau.kind) == (an.collectivite, BORDEREAU)


def test_the_same_bordereau_twice_is_one_name_however_its_number_is_written() -> None:
    twice = an.bordereau.model_copy(update={"number": "0100"})
    flux = an.validated.model_copy(update={"bordereaux": (an.bordereau, twice)})
    assert reservations_of(flux, an.collectivite) == reservations_of(an.validated, an.collectivite)


def test_names_are_taken_in_one_order_whatever_the_order_of_the_file() -> None:
    others = [an.bordereau.model_copy(update={"number": number}) for number in ("3", "1", "2")]
    one, other = (an.validated.model_copy(update={"bordereaux": tuple(found)}) for found in (others, others[::-1]))
    assert reservations_of(one, an.collectivite) == reservations_of(other, an.collectivite)


def test_bordereaux_that_differ_in_anything_that_counts_have_different_names() -> None:
    others = [an.bordereau.model_copy(update={"domain": "recette"})]
    others += [an.bordereau.model_copy(update={name: "02"}) for name in ("exercice", "number", "type")]
    headers = [an.header.model_copy(update={name: "20"}) for name in ("id_post", "cod_col", "cod_bud")]
    values = [bordereau_reservation(an.collectivite, an.header, one) for one in (an.bordereau, *others)]
    values += [bordereau_reservation(an.collectivite, header, an.bordereau) for header in headers]
    assert len(set(values)) == 8


def test_what_was_let_pass_takes_no_name() -> None:
    repeated = an.bordereau.model_copy(update={"is_repeated": True})
    passed = an.validated.model_copy(update={"bordereaux": (repeated,), "nomfic_is_reused": True})
    assert reservations_of(passed, an.collectivite) == ()


def test_other_facts_take_nothing_and_give_nothing_up() -> None:
    assert reservations_of(an.signed, an.collectivite) == ()
    assert releases_of(an.imported) == ()
    assert releases_of(an.acknowledged) == ()


def test_what_a_fact_takes_and_gives_up_is_what_is_declared_of_it() -> None:
    keyed = an.imported.model_copy(update={"idempotency_key": "k"})
    refused = (RefusedBordereau(domain="depense", exercice="2026", number="0100"),)
    partly = an.partially_rejected.model_copy(update={"refused": refused})
    facts = {type(fact): fact for fact in vars(an).values() if isinstance(fact, Fact)}
    facts |= {type(fact): fact for fact in (keyed, partly, an.validated)}
    for kind, fact in facts.items():
        taken = {name.kind for name in reservations_of(fact, an.collectivite)}
        assert taken == set(TAKEN_BY.get(kind, ())), kind
        assert {release.kind for release in releases_of(fact)} == set(RELEASED_BY.get(kind, ())), kind


def test_a_cancellation_gives_up_the_file_and_keeps_the_key() -> None:
    assert releases_of(an.cancelled) == (Release(DOCUMENT), Release(NOMFIC), Release(BORDEREAU))


def test_a_flux_whose_signatures_are_refused_gives_up_what_it_takes_in_the_accounts_and_keeps_its_file() -> None:
    assert releases_of(an.signatures_rejected) == (Release(NOMFIC), Release(BORDEREAU))


def test_a_flux_that_dgfip_refused_gives_up_its_bordereaux_and_keeps_its_nomfic() -> None:
    assert releases_of(an.rejected) == (Release(BORDEREAU),)


def test_a_partial_rejection_gives_up_the_bordereaux_that_were_refused_only() -> None:
    named = an.reply_error.model_copy(update={"domain": "5", "exercice": "2026", "bordereau": "0100"})
    stated = an.partially_rejected.model_copy(update={"errors": (named,)})
    assert releases_of(stated) == ()  # an anomaly may be stated of a bordereau that was taken
    refused = RefusedBordereau(domain="depense", exercice="2026", number="0100")
    (release,) = releases_of(stated.model_copy(update={"refused": (refused, refused)}))
    ours = bordereau_reservation(an.collectivite, an.header, an.bordereau)
    other = bordereau_reservation(an.collectivite, an.header, an.bordereau.model_copy(update={"number": "1001"}))
    assert ours.value.startswith(release.prefix)
    assert not other.value.startswith(release.prefix)


@pytest.mark.parametrize("number", ["0100", "+100", "100.", "100.0"])
def test_a_number_is_one_number_however_it_is_written(number: str) -> None:
    other = an.bordereau.model_copy(update={"number": number, "exercice": "2026Z"})
    assert bordereau_reservation(an.collectivite, an.header, other) == bordereau_reservation(
        an.collectivite, an.header, an.bordereau
    )

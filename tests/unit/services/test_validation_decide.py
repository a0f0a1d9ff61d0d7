"""What is recorded of a judgement, with what is known of other flux."""

from collections.abc import Sequence

import pytest

from pes.judge import Judgement
from services.validation.decide import (
    FINDINGS_IN_FACT,
    Beside,
    Holder,
    accept,
    decide,
    in_context,
    infected,
    names_of,
)
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import new_id
from shared.facts.fact import Fact
from shared.facts.flux import DuplicateAccepted, FluxInvalidated, FluxValidated
from shared.facts.lifecycles.flux import State, fold
from shared.facts.reservations import Reservation, bordereau_reservation, nomfic_reservation
from tests import examples as an

IMPORTED = fold([an.imported])
WARNING = an.finding.model_copy(update={"severity": "warning"})
VALID = Judgement("valid", (WARNING,), None, an.header, (an.bordereau,), 1, signature_required=True)
HOLDER = Holder(new_id(), an.collectivite, State.AWAITING_ACK)
NOMFIC = nomfic_reservation(an.collectivite, an.header)
BORDEREAU = bordereau_reservation(an.collectivite, an.header, an.bordereau)


def in_the_context_of(taken: dict[Reservation, Holder], *accepted: Holder) -> Judgement:
    flux = {holder.flux_id for holder in accepted}
    return in_context(VALID, taken, collectivite=an.collectivite, policy={}, accepted=flux)


def test_a_valid_flux_is_validated_with_its_warnings() -> None:
    (fact,) = decide(IMPORTED, VALID, Beside(an.document))
    assert fact == FluxValidated(
        header=an.header,
        bordereaux=(an.bordereau,),
        attachments=1,
        signature_required=True,
        warnings=(WARNING,),
        synthese=an.document,
    )


def test_an_invalid_flux_is_invalidated_with_what_could_be_read() -> None:
    judgement = Judgement("invalid", (an.finding,), None, an.header)
    assert decide(IMPORTED, judgement, Beside()) == [FluxInvalidated(findings=(an.finding,), header=an.header)]


@pytest.mark.parametrize(
    "past", [[an.imported, an.validated], [an.imported, an.cancelled], [an.imported, an.invalidated]]
)
def test_a_redelivery_or_a_cancelled_flux_changes_nothing(past: Sequence[Fact]) -> None:
    assert decide(fold(past), VALID, Beside()) == []


def test_a_valid_flux_takes_its_nomfic_and_its_bordereaux() -> None:
    assert names_of(VALID, an.collectivite) == [NOMFIC, BORDEREAU]
    assert names_of(Judgement("invalid", (), None, an.header), an.collectivite) == []


def test_what_nobody_holds_changes_nothing() -> None:
    assert in_the_context_of({}) is VALID


@pytest.mark.parametrize(
    ("claim", "code"),
    [(NOMFIC, "pes.nomfic-used"), (BORDEREAU, "bordereau.already-sent")],
    ids=["nomfic", "bordereau"],
)
def test_what_another_flux_holds_blocks_and_names_it_with_its_state(claim: Reservation, code: str) -> None:
    judgement = in_the_context_of({claim: HOLDER})
    assert judgement.verdict == "invalid"
    assert judgement.findings[-1].code == code
    assert str(HOLDER.flux_id) in judgement.findings[-1].message
    assert "En attente d’AR" in judgement.findings[-1].message


def test_a_flux_of_another_collectivite_is_not_named() -> None:
    other = Holder(HOLDER.flux_id, "999999999", State.DRAFT)
    judgement = in_the_context_of({NOMFIC: other})
    assert str(HOLDER.flux_id) not in repr(judgement)
    assert (judgement.verdict, judgement.repeats) == ("invalid", ())


def test_what_was_accepted_is_a_warning_and_is_not_taken_again() -> None:
    judgement = in_the_context_of({NOMFIC: HOLDER, BORDEREAU: HOLDER}, HOLDER)
    assert judgement.verdict == "valid"
    (fact,) = decide(IMPORTED, judgement, Beside())
    assert isinstance(fact, FluxValidated)
    assert fact.nomfic_is_reused
    assert fact.bordereaux[0].is_repeated


def test_what_was_accepted_of_one_flux_is_not_of_another() -> None:
    other = Holder(new_id(), an.collectivite, State.READY)
    judgement = in_the_context_of({NOMFIC: HOLDER, BORDEREAU: other}, HOLDER)
    assert [(one.code, one.severity) for one in judgement.findings[-2:]] == [
        ("pes.nomfic-used", "warning"),
        ("bordereau.already-sent", "blocking"),
    ]
    (fact,) = decide(IMPORTED, judgement, Beside())
    assert isinstance(fact, FluxInvalidated)
    assert fact.repeats == (HOLDER.flux_id, other.flux_id)


def test_no_policy_lets_duplicates_pass_someone_must_answer_for_each() -> None:
    judgement = in_context(
        VALID, {NOMFIC: HOLDER}, collectivite=an.collectivite, policy={"pes.nomfic-used": "warning"}
    )
    assert judgement.verdict == "invalid"


def test_a_virus_makes_a_flux_invalid_and_is_named() -> None:
    (fact,) = decide(IMPORTED, infected("Eicar"), Beside())
    assert isinstance(fact, FluxInvalidated)
    assert "Eicar" in fact.findings[0].message


def test_a_fact_carries_the_findings_that_block_first_and_counts_the_rest() -> None:
    findings = (*([WARNING] * FINDINGS_IN_FACT), an.finding)
    (fact,) = decide(IMPORTED, Judgement("invalid", findings, None, an.header), Beside(report=an.reply))
    assert isinstance(fact, FluxInvalidated)
    assert len(fact.findings) == FINDINGS_IN_FACT
    assert fact.findings[0] == an.finding
    assert fact.findings[-1].code == "pes.many-findings"
    assert fact.report == an.reply


INVALID = fold([an.imported, an.invalidated])


def test_a_duplicate_is_accepted_with_its_reason_of_the_flux_that_it_was_refused_for() -> None:
    codes = ["bordereau.already-sent", "pes.nomfic-used"]
    first, second = (FluxInvalidated(findings=(), repeats=(new_id(),)) for _ in range(2))
    accepted = accept(fold([an.imported, first]), codes, "demandé")
    assert accepted == [DuplicateAccepted(reason="demandé", repeats=first.repeats)]
    refused_again = fold([an.imported, first, *accepted, second])
    assert refused_again.accepted == {*first.repeats}
    (again,) = accept(refused_again, codes, "encore")
    assert again == DuplicateAccepted(reason="encore", repeats=second.repeats)
    assert refused_again.evolve(again).accepted == {*first.repeats, *second.repeats}


def test_an_acceptance_that_names_no_flux_as_older_versions_recorded_accepts_none() -> None:
    assert fold([an.imported, an.invalidated, an.duplicate_accepted]).accepted == frozenset()


def test_asked_twice_it_is_accepted_once() -> None:
    again = fold([an.imported, an.invalidated, an.duplicate_accepted])
    assert accept(again, ["bordereau.already-sent"], "demandé") == []


@pytest.mark.parametrize(
    ("past", "codes"),
    [
        ([an.imported], ["pes.nomfic-used"]),
        ([an.imported, an.invalidated], []),
        ([an.imported, an.invalidated], ["pes.nomfic-used", "pes.empty"]),
        ([an.imported, an.validated], ["pes.nomfic-used"]),
    ],
)
def test_nothing_else_can_be_accepted(past: Sequence[Fact], codes: Sequence[str]) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        accept(fold(past), codes, "demandé")
    assert caught.value.why is Why.AS_THINGS_STAND

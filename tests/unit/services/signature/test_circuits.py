"""Circuits: which steps make one, which one applies, who stands in for whom; and how a command writes steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cli.commands.administering.registries import step_of
from cli.errors import UsageProblemError
from services.signature.circuits import (
    Circuit,
    Delegation,
    Step,
    choose,
    fault_of,
    kind_of_flux,
    whom_they_replace,
)
from shared.facts.collectivite import FluxKind

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
VISA, SIGNATURE, SEAL = Step("visa", ("amina",)), Step("signature"), Step("seal")
DEPENSE, RECETTE = Step("signature", domain="depense"), Step("signature", domain="recette")
AWAY = Delegation(UUID(int=1), "213499908", "camille", "karim", NOW, NOW + 9 * DAY, "congés")


def circuit(kind: FluxKind, *steps: Step) -> Circuit:
    return Circuit("213499908", kind, steps)


# --- Which steps make a circuit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        [SIGNATURE],
        [VISA, SIGNATURE],
        [VISA, VISA, SIGNATURE, VISA],
        [DEPENSE, RECETTE],
        [RECETTE, VISA, DEPENSE],
    ],
)
def test_one_signing_step_or_one_for_each_domain_makes_a_circuit(steps: list[Step]) -> None:
    assert fault_of(steps, has_seal=False) == ""


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "au moins une étape de signature"),
        ([VISA], "au moins une étape de signature"),
        ([SIGNATURE, SIGNATURE], "une seule signature"),
        ([SIGNATURE, DEPENSE], "une seule signature"),
        ([DEPENSE], "une seule signature"),
        ([DEPENSE, DEPENSE], "une seule signature"),
        ([DEPENSE, RECETTE, RECETTE], "une seule signature"),
        ([replace(VISA, domain="depense"), SIGNATURE], "Un visa porte sur tout le flux"),
        ([replace(SEAL, any_of=("camille",))], "ne désigne personne"),
    ],
)
def test_what_is_no_circuit_says_why(steps: list[Step], said: str) -> None:
    assert said in fault_of(steps, has_seal=True)


def test_a_seal_is_for_those_who_chose_it() -> None:
    assert fault_of([VISA, SEAL], has_seal=True) == ""
    assert "n’a pas choisi le cachet" in fault_of([VISA, SEAL], has_seal=False)


def test_a_seal_may_sign_one_domain_and_a_person_the_other() -> None:
    assert fault_of([DEPENSE, replace(SEAL, domain="recette")], has_seal=True) == ""


# --- Which one applies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domains", "kind"),
    [
        (["depense", "depense"], "depense"),
        (["recette"], "recette"),
        (["depense", "recette"], "mixte"),
        ([], "mixte"),
        (["autre"], "mixte"),
    ],
)
def test_the_kind_of_a_flux_follows_from_its_bordereaux(domains: list[str], kind: FluxKind) -> None:
    assert kind_of_flux(domains) == kind


def test_the_circuit_of_a_kind_comes_before_the_one_of_all_kinds() -> None:
    of_all, of_depense = circuit("*", SIGNATURE), circuit("depense", VISA, SIGNATURE)
    assert choose([of_all, of_depense], "depense") == of_depense
    assert choose([of_depense, of_all], "depense") == of_depense
    assert choose([of_all, of_depense], "mixte") == of_all
    assert choose([of_depense], "recette") is None
    assert choose([], "*") is None


def test_a_circuit_without_steps_gives_way() -> None:
    of_all = circuit("*", SIGNATURE)
    assert choose([of_all, circuit("depense")], "depense") == of_all
    assert choose([circuit("*")], "depense") is None


# --- Who stands in for whom --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "holds"),
    [(NOW - INSTANT, False), (NOW, True), (NOW + 9 * DAY - INSTANT, True), (NOW + 9 * DAY, False)],
)
def test_a_delegation_holds_from_its_first_instant_until_its_end_excluded(at: datetime, holds: bool) -> None:
    assert AWAY.holds(at) is holds
    assert whom_they_replace("karim", [AWAY], at) == ({"camille"} if holds else set())


def test_a_delegation_that_is_ended_early_stops_then_and_one_ended_late_as_foreseen() -> None:
    early, late = replace(AWAY, ended_at=NOW + DAY), replace(AWAY, ended_at=NOW + 20 * DAY)
    assert (early.holds(NOW + DAY - INSTANT), early.holds(NOW + DAY)) == (True, False)
    assert (late.holds(NOW + 9 * DAY - INSTANT), late.holds(NOW + 9 * DAY)) == (True, False)


def test_one_may_stand_in_for_several_but_not_for_those_whom_they_replace() -> None:
    other = replace(AWAY, absent="amina")
    chained = replace(AWAY, absent="louise", substitute="camille")
    assert whom_they_replace("karim", [AWAY, other, chained], NOW) == {"camille", "amina"}
    assert whom_they_replace("amina", [AWAY, other], NOW) == frozenset()


# --- Steps as the command line takes them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("signature", Step("signature")),
        ("visa:amina,karim", Step("visa", ("amina", "karim"))),
        ("visa: amina , karim = Visa des finances", Step("visa", ("amina", "karim"), name="Visa des finances")),
        ("signature/dépense:camille", Step("signature", ("camille",), "depense")),
        ("Signature/recette=A = B : C/D", Step("signature", domain="recette", name="A = B : C/D")),
        ("cachet", Step("seal")),
        ("seal:", Step("seal")),
        ("visa:oidc|a:b/c", Step("visa", ("oidc|a:b/c",))),
    ],
)
def test_a_step_is_written_kind_domain_persons_name(text: str, step: Step) -> None:
    expected = {"kind": step.kind, "any_of": list(step.any_of), "domain": step.domain, "name": step.name}
    assert step_of(text) == expected


@pytest.mark.parametrize(
    "text", ["", "paraphe", "signature/investissement", ":camille", "=Nom", "visa/depense/recette"]
)
def test_a_step_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UsageProblemError, match="Étape illisible"):
        step_of(text)

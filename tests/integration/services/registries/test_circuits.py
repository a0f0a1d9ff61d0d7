"""Circuits, through the API: set for a collectivité or for all, and read back."""

import pytest

from shared.errors import NewerFactError
from shared.journal.postgres import Database
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.registries.bench import (
    ADMINISTRATOR,
    DAY,
    ELSEWHERE,
    OPERATOR,
    SEAL,
    SIGNATURE,
    Bench,
    applying,
    refusal,
    set_circuit,
    someone,
)

VISA: dict[str, object] = {"kind": "visa", "any_of": ["karim", "louise", "karim"], "name": "Visa des finances"}


async def test_a_circuit_is_read_back_as_it_was_set_and_the_last_one_counts(bench: Bench) -> None:
    assert (await set_circuit(bench, SIGNATURE)).status_code == 200
    answer = await set_circuit(bench, VISA, SIGNATURE)
    assert answer.status_code == 200, answer.text
    told = (await bench.http.get("/v1/circuits")).json()
    assert told["circuits"] == [answer.json()]
    assert answer.json()["steps"] == [
        {"kind": "visa", "any_of": ["karim", "louise"], "domain": "", "name": "Visa des finances"},
        {"kind": "signature", "any_of": ["camille"], "domain": "", "name": ""},
    ]
    assert (answer.json()["changed_by"], answer.json()["reason"]) == ("amina", "règlement intérieur")
    assert [len(one["steps"]) for one in told["changes"]] == [2, 1]


async def test_the_same_circuit_again_is_answered_as_it_was_set_and_recorded_once(bench: Bench) -> None:
    first = await set_circuit(bench, VISA, SIGNATURE)
    bench.at += DAY
    body = {"steps": [VISA, SIGNATURE], "reason": "pour une autre raison"}
    again = await bench.http.put("/v1/circuits", json=body, headers=someone("sam", Role.ADMINISTRATEUR))
    assert (again.status_code, again.json()) == (200, first.json())
    assert len((await bench.http.get("/v1/circuits")).json()["changes"]) == 1


async def test_the_circuit_of_a_collectivite_comes_before_that_of_all_and_only_for_itself(bench: Bench) -> None:
    await set_circuit(bench, SIGNATURE, collectivite="*", headers=OPERATOR)
    await set_circuit(bench, VISA, SIGNATURE)
    assert await applying(bench) == [(COMMUNE, "*", ["visa", "signature"])]
    assert await applying(bench, OTHER_COMMUNE) == [("*", "*", ["signature"])]
    assert (await set_circuit(bench)).status_code == 200  # no step: back to what it was
    assert await applying(bench) == [("*", "*", ["signature"])]


async def test_each_kind_of_flux_has_its_circuit(bench: Bench) -> None:
    for kind in ("depense", "recette", "mixte"):
        assert (await set_circuit(bench, SIGNATURE, kind=kind)).status_code == 200
    assert [kind for _, kind, _ in await applying(bench)] == ["depense", "mixte", "recette"]
    assert refusal(await set_circuit(bench, SIGNATURE, kind="autre")) == (422, "invalid-request")


async def test_steps_that_make_no_circuit_are_refused_with_why_and_nothing_changes(bench: Bench) -> None:
    answer = await set_circuit(bench, VISA)
    assert refusal(answer) == (422, "circuit-invalid")
    assert "au moins une étape de signature" in answer.json()["detail"]
    assert refusal(await set_circuit(bench, SIGNATURE, SIGNATURE)) == (422, "circuit-invalid")
    assert (await bench.http.get("/v1/circuits")).json()["changes"] == []


async def test_only_a_collectivite_that_chose_the_seal_has_it_in_its_circuit(bench: Bench) -> None:
    answer = await set_circuit(bench, SEAL)
    assert refusal(answer) == (422, "circuit-invalid")
    assert "n’a pas choisi le cachet" in answer.json()["detail"]
    for_all = await set_circuit(bench, SEAL, collectivite="*", headers=OPERATOR)
    assert refusal(for_all) == (422, "circuit-invalid")
    assert (await set_circuit(bench, VISA, SEAL, headers=ELSEWHERE)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "collectivite"),
    [
        (bearer(role=Role.GESTIONNAIRE), COMMUNE),
        (bearer(role=Role.SIGNATAIRE), COMMUNE),
        (bearer(role=Role.AUDITEUR), COMMUNE),
        (ADMINISTRATOR, OTHER_COMMUNE),
        (ADMINISTRATOR, "*"),
        (bearer(role=Role.GESTIONNAIRE), "*"),
    ],
)
async def test_a_circuit_is_set_by_an_administrator_of_the_collectivite_and_for_all_by_an_operator(
    bench: Bench, headers: dict[str, str], collectivite: str
) -> None:
    answer = await set_circuit(bench, SIGNATURE, collectivite=collectivite, headers=headers)
    assert refusal(answer) == (403, "forbidden")
    assert await applying(bench, COMMUNE) == await applying(bench, OTHER_COMMUNE) == []


async def test_everyone_reads_the_circuits_of_all(bench: Bench) -> None:
    await set_circuit(bench, SIGNATURE, collectivite="*", headers=OPERATOR)
    told = (await bench.http.get("/v1/circuits?collectivite=*", headers=bearer(role=Role.AUDITEUR))).json()
    assert [one["collectivite"] for one in told["circuits"]] == ["*"]


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([VISA] * 19 + [SIGNATURE], 200),
        ([VISA] * 20 + [SIGNATURE], 422),
        ([{**SIGNATURE, "any_of": [f"p{number}" for number in range(50)]}], 200),
        ([{**SIGNATURE, "any_of": [f"p{number}" for number in range(51)]}], 422),
        ([{**SIGNATURE, "any_of": [""]}], 422),
        ([{**SIGNATURE, "any_of": ["x" * 256]}], 422),
        ([{**SIGNATURE, "any_of": ["a\u0000"]}], 422),
        ([{**SIGNATURE, "name": "x" * 200}], 200),
        ([{**SIGNATURE, "name": "x" * 201}], 422),
        ([{**SIGNATURE, "domain": "autre"}], 422),
        ([{"kind": "paraphe"}], 422),
    ],
)
async def test_steps_are_bounded(bench: Bench, steps: list[dict[str, object]], status: int) -> None:
    assert (await set_circuit(bench, *steps)).status_code == status


async def test_a_circuit_changes_for_a_reason(bench: Bench) -> None:
    for reason in ("", "ab", "x" * 501):
        body = {"flux_kind": "*", "steps": [SIGNATURE], "reason": reason}
        assert refusal(await bench.http.put("/v1/circuits", json=body)) == (422, "invalid-request")


async def test_a_circuit_that_a_newer_version_set_sets_aside_what_asks_for_it(
    bench: Bench, database: Database
) -> None:
    await set_circuit(bench, SIGNATURE)
    await database.execute("alter table circuit disable trigger user")
    await database.execute("update circuit set steps = replace(steps::text, 'signature', 'ratification')::jsonb")
    with pytest.raises(NewerFactError) as newer:
        await bench.registries.circuits(COMMUNE)
    assert newer.value.kind == "circuit.set.v1"

"""The steps of circuits: visas, refusals, what begins again, whom someone stands in for."""

import pytest

from shared.facts import flux as facts
from shared.facts.envelope import new_id
from shared.facts.fact import kind_of
from shared.facts.streams import BY_KIND
from tests.callers import COMMUNE, OTHER_COMMUNE
from tests.integration.services.parapheur.bench import (
    ADMINISTRATOR,
    AMINA,
    CAMILLE,
    DAY,
    STRANGER,
    VISA_THEN_SIGNATURE,
    Bench,
    problem_of,
)
from tests.parapheur import DEPUTY, DIRECTOR, MAYOR, refusal
from tests.signing import NOW


async def test_a_circuit_applies_to_the_next_flux_only(bench: Bench) -> None:
    before = await bench.waiting(1)
    await bench.circuit(*VISA_THEN_SIGNATURE)
    after = await bench.waiting(2)
    shown = [(await bench.http.get(f"/v1/flux/{one}/circuit")).json() for one in (before, after)]
    assert [[step["kind"] for step in one["steps"]] for one in shown] == [["signature"], ["visa", "signature"]]
    assert [one["is_mine"] for one in shown] == [True, False]
    assert [item["status"] for item in (await bench.prepare(before, after))["items"]] == ["prepared", "refused"]
    await bench.circuit({"kind": "signature", "any_of": [DEPUTY]})
    shown = [(await bench.http.get(f"/v1/flux/{one}/circuit")).json() for one in (before, after)]
    assert [len(one["steps"]) for one in shown] == [1, 2]


async def test_a_batch_of_visas_is_answered_for_flux_by_flux(bench: Bench) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    first, second = await bench.waiting(1), await bench.waiting(2)
    hidden, absent = await bench.waiting(3, OTHER_COMMUNE), new_id()
    flux = [str(one) for one in (first, second, first, hidden, absent)]
    given = (await bench.ask("/v1/signatures/visa", {"flux": flux, "comment": "Vu"}, AMINA))["items"]
    assert [item["flux_id"] for item in given] == [str(one) for one in (first, second, hidden, absent)]
    assert [(item["status"], item["step"]) for item in given[:2]] == [("visa", 1)] * 2
    assert [refusal(item) for item in given[2:]] == ["flux-not-found"] * 2
    assert await bench.last(second) == facts.VisaGiven(step=1, comment="Vu")
    again = (await bench.ask("/v1/signatures/visa", {"flux": flux[:1]}, AMINA))["items"]
    assert [(item["status"], item["step"]) for item in again] == [
        ("visa", 1)
    ]  # given already: asked twice, done once
    assert (await bench.kinds()).count("visa.given.v1") == 2
    waiting = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert [(one["flux_id"], one["step"]) for one in waiting] == [(str(first), 2), (str(second), 2)]


async def test_a_batch_of_refusals_gives_each_flux_back_with_the_reason(bench: Bench) -> None:
    first, second = await bench.waiting(1), await bench.waiting(2)
    body = {"flux": [str(first), str(second)], "reason": "  Le mandat 12 est faux "}
    given = (await bench.ask("/v1/signatures/refuse", body, CAMILLE))["items"]
    assert [(item["status"], item["on_screen"]) for item in given] == [("declined", "Signature refusée")] * 2
    assert "problem" not in given[0]
    assert await bench.last(second) == facts.SignatureRefused(step=1, reason="Le mandat 12 est faux")
    shown = (await bench.http.get(f"/v1/flux/{first}/circuit", headers=AMINA)).json()
    (taken,) = shown["steps"][0]["taken"]
    assert (taken["by"], taken["reason"]) == (MAYOR, "Le mandat 12 est faux")


async def test_a_refused_flux_begins_again_through_the_circuit_of_the_moment(bench: Bench) -> None:
    flux_id = await bench.waiting()
    await bench.ask("/v1/signatures/refuse", {"flux": [str(flux_id)], "reason": "Il manque un visa"})
    await bench.circuit(*VISA_THEN_SIGNATURE)
    for reason in (" Visa ajouté ", "Encore"):  # asked twice, it is done once
        answer = await bench.http.post(f"/v1/flux/{flux_id}/circuit/restart", json={"reason": reason}, headers=AMINA)
        assert (answer.status_code, answer.json()["status"]) == (202, "restarted")
        assert await bench.last(flux_id) == facts.SignatureRestarted(reason="Visa ajouté")
    await bench.hear(flux_id)
    assert [step.kind for step in (await bench.flux(flux_id)).circuit] == ["visa", "signature"]


async def test_a_flux_that_a_newer_version_wrote_to_stops_no_other_of_the_same_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_to, other = await bench.waiting(1), await bench.waiting(2)
    await bench.ask("/v1/signatures/refuse", {"flux": [str(written_to)], "reason": "Motif"})
    await bench.ask(f"/v1/flux/{written_to}/circuit/restart", {"reason": "Motif"}, AMINA)
    await bench.hear(written_to)
    prepared_before = await bench.prepare(written_to, other)
    monkeypatch.delitem(BY_KIND, kind_of(facts.SignatureRestarted))
    pending = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert [one["flux_id"] for one in pending] == [str(other)]
    visas = (await bench.ask("/v1/signatures/visa", {"flux": [str(written_to), str(other)]}, AMINA))["items"]
    assert [refusal(item) for item in visas] == ["flux-set-aside", "not-yours"]
    prepared = (await bench.prepare(written_to, other))["items"]
    assert (refusal(prepared[0]), prepared[1]["status"]) == ("flux-set-aside", "prepared")
    completed = await bench.complete(prepared_before)
    assert (refusal(completed[0]), completed[1]["status"]) == ("flux-set-aside", "signed")
    assert problem_of(await bench.http.get(f"/v1/flux/{written_to}/circuit")) == (409, "flux-set-aside")
    hidden = await bench.http.get(f"/v1/flux/{written_to}/circuit", headers=STRANGER)
    assert problem_of(hidden) == (404, "flux-not-found")


async def test_there_is_nothing_to_begin_again_in_a_flux_that_is_signed(bench: Bench) -> None:
    flux_id = await bench.waiting()
    await bench.complete(await bench.prepare(flux_id))
    await bench.hear(flux_id)
    answer = await bench.http.post(f"/v1/flux/{flux_id}/circuit/restart", json={"reason": "Encore"}, headers=AMINA)
    assert problem_of(answer) == (409, "nothing-to-restart")
    assert answer.json()["state"] == "ready"


async def test_a_delegation_given_through_the_api_lets_someone_take_the_step_of_the_absent(bench: Bench) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    flux_id = await bench.waiting()
    body = {
        "collectivite": COMMUNE,
        "absent": DIRECTOR,
        "substitute": "karim",
        "valid_from": NOW.isoformat(),
        "valid_until": (NOW + DAY).isoformat(),
        "reason": "congés",
    }
    await bench.ask("/v1/delegations", body, AMINA)
    (given,) = (await bench.ask("/v1/signatures/visa", {"flux": [str(flux_id)]}, ADMINISTRATOR))["items"]
    assert given["status"] == "visa"
    assert await bench.last(flux_id) == facts.VisaGiven(step=1, on_behalf_of=DIRECTOR)
    shown = (await bench.http.get(f"/v1/flux/{flux_id}/circuit")).json()
    (taken,) = shown["steps"][0]["taken"]
    assert (taken["by"], taken["on_behalf_of"], shown["is_mine"]) == ("karim", DIRECTOR, True)

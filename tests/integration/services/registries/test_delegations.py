"""Delegations, through the API: given, listed, ended."""

from datetime import timedelta

import pytest

from shared.facts.envelope import new_id
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.registries.bench import DAY, DELEGATION, ELSEWHERE, NOW, Bench, refusal, someone


async def test_an_administrator_elsewhere_delegates_only_their_own_steps_here(bench: Bench) -> None:
    who = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR, also={COMMUNE: Role.SIGNATAIRE}, subject="karima")
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=who)
    assert refusal(answer) == (403, "not-your-delegation")
    own = await bench.http.post("/v1/delegations", json={**DELEGATION, "absent": "karima"}, headers=who)
    assert own.status_code == 201, own.text


async def test_a_recorded_delegation_is_listed_and_in_force_in_its_time(bench: Bench) -> None:
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    for days, in_force in ((0, True), (13, True), (14, False), (-2, False)):
        bench.at = NOW + days * DAY
        (listed,) = (await bench.http.get("/v1/delegations")).json()["delegations"]
        assert (listed["delegation_id"], listed["is_in_force"]) == (delegation_id, in_force)
    assert (listed["absent"], listed["substitute"], listed["recorded_by"]) == ("camille", "karim", "amina")
    other = (await bench.http.get("/v1/delegations", headers=ELSEWHERE)).json()
    assert other["delegations"] == []


@pytest.mark.parametrize("role", [Role.SIGNATAIRE, Role.GESTIONNAIRE])
async def test_the_absent_person_delegates_their_own_steps_and_takes_them_back(bench: Bench, role: Role) -> None:
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=someone("camille", role))
    assert (answer.status_code, answer.json()["recorded_by"]) == (201, "camille")
    end = {"reason": "retour"}
    path = f"/v1/delegations/{answer.json()['delegation_id']}/end"
    refused = await bench.http.post(path, json=end, headers=someone("karim", role))
    assert refusal(refused) == (403, "not-your-delegation")
    ended = await bench.http.post(path, json=end, headers=someone("camille", role))
    assert (ended.status_code, ended.json()["is_in_force"]) == (200, False)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (someone("karim", Role.SIGNATAIRE), "not-your-delegation"),
        (someone("karim", Role.GESTIONNAIRE), "not-your-delegation"),
        (someone("camille", Role.AUDITEUR), "forbidden"),
        (someone("camille", Role.SIGNATAIRE, OTHER_COMMUNE), "forbidden"),
        (ELSEWHERE, "forbidden"),
    ],
)
async def test_nobody_delegates_the_steps_of_another_but_an_administrator(
    bench: Bench, who: dict[str, str], code: str
) -> None:
    answer = await bench.http.post("/v1/delegations", json=DELEGATION, headers=who)
    assert refusal(answer) == (403, code)
    assert (await bench.http.get("/v1/delegations")).json()["delegations"] == []


async def test_nobody_gives_themselves_the_steps_of_another(bench: Bench) -> None:
    answer = await bench.http.post(
        "/v1/delegations", json=DELEGATION | {"absent": "directrice", "substitute": "amina"}
    )
    assert refusal(answer) == (403, "own-delegation")
    assert (await bench.http.get("/v1/delegations")).json()["delegations"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"substitute": "camille"}, "delegation-to-oneself"),
        ({"valid_until": "2026-04-01T00:00:00+02:00"}, "period-invalid"),
        ({"valid_until": "2026-04-15T00:00:00"}, "moment-invalid"),
        ({"valid_from": "2026-04-01"}, "moment-invalid"),
        ({"valid_until": None}, "invalid-request"),
        ({"reason": "x"}, "invalid-request"),
        ({"substitute": "x" * 256}, "invalid-request"),
    ],
)
async def test_a_delegation_that_cannot_be_is_refused(bench: Bench, change: dict[str, object], code: str) -> None:
    assert refusal(await bench.http.post("/v1/delegations", json={**DELEGATION, **change})) == (422, code)


async def test_the_same_delegation_again_answers_as_the_first_time_and_another_is_refused(bench: Bench) -> None:
    body = {**DELEGATION, "delegation_id": str(new_id())}
    first = await bench.http.post("/v1/delegations", json=body)
    bench.at = NOW + timedelta(minutes=1)
    again = await bench.http.post("/v1/delegations", json=body)
    assert (again.status_code, again.json()["recorded_at"]) == (201, first.json()["recorded_at"])
    other = await bench.http.post("/v1/delegations", json={**body, "substitute": "louise"})
    assert refusal(other) == (409, "id-taken")
    assert len((await bench.http.get("/v1/delegations")).json()["delegations"]) == 1


async def test_the_end_of_a_delegation_is_like_that_of_a_mandate(bench: Bench) -> None:
    delegation_id = await bench.recorded("/v1/delegations", DELEGATION)
    path = f"/v1/delegations/{delegation_id}/end"
    late = {"reason": "retour", "at": "2026-04-15T00:00:00+02:00"}
    assert refusal(await bench.http.post(path, json=late)) == (409, "ends-before")
    for _ in range(2):
        told = (await bench.http.post(path, json={"reason": "retour"})).json()
        assert (told["ended_at"], told["ends_at"]) == ("2026-04-01T12:00:00Z", "2026-04-01T12:00:00Z")
        bench.at += DAY
    hidden = await bench.http.post(path, json={"reason": "retour"}, headers=ELSEWHERE)
    absent_id = str(new_id())
    absent = await bench.http.post(f"/v1/delegations/{absent_id}/end", json={"reason": "retour"})
    assert refusal(hidden) == refusal(absent) == (404, "registry-entry-not-found")
    assert hidden.text.replace(delegation_id, absent_id) == absent.text

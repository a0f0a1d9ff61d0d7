"""The choice of the seal, through the API; and the setting that was there before."""

import asyncio
import logging

import httpx
import pytest

from services.signature.administration import Administration
from services.signature.api import administration_routes
from shared.facts import collectivite as facts
from shared.facts.streams import collectivite_stream
from shared.journal.postgres import Database
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer, checker
from tests.integration.services.registries.bench import (
    ADMINISTRATOR,
    ELSEWHERE,
    NOW,
    OPERATOR,
    SEAL,
    SIGNATURE,
    Bench,
    choose_seal,
    refusal,
    set_circuit,
)


async def sealed(bench: Bench, collectivite: str = COMMUNE) -> bool:
    answer = await bench.http.get("/v1/seal", params={"collectivite": collectivite}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["has_seal"])


async def test_a_collectivite_chooses_the_seal_and_leaves_it_for_a_reason(bench: Bench) -> None:
    assert not await sealed(bench)
    answer = await choose_seal(bench, has_seal=True)
    assert (answer.status_code, answer.json()["choice"]["changed_by"]) == (200, "amina")
    assert (await set_circuit(bench, SEAL)).status_code == 200
    assert (await choose_seal(bench, has_seal=False)).json()["has_seal"] is False
    events = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [type(one.data) for one in events] == [
        facts.CollectiviteOpened,
        facts.SealChosen,
        facts.CircuitSet,
        facts.SealLeft,
    ]
    without = await bench.http.put("/v1/seal", json={"has_seal": True, "reason": ""})
    assert refusal(without) == (422, "invalid-request")


async def test_choosing_the_seal_twice_is_one_fact(bench: Bench) -> None:
    for _ in range(2):
        assert (await choose_seal(bench, has_seal=True)).json()["has_seal"] is True
    assert len(await bench.history.load(collectivite_stream(COMMUNE).id)) == 2


async def test_what_an_operator_chooses_for_all_is_for_those_who_said_nothing(bench: Bench) -> None:
    await choose_seal(bench, has_seal=False, collectivite=OTHER_COMMUNE, headers=ELSEWHERE)
    assert (await choose_seal(bench, has_seal=True, collectivite="*", headers=OPERATOR)).status_code == 200
    assert [await sealed(bench, one) for one in (COMMUNE, OTHER_COMMUNE, "*")] == [True, False, True]


@pytest.mark.parametrize(
    ("headers", "collectivite"),
    [
        (bearer(role=Role.GESTIONNAIRE), COMMUNE),
        (bearer(role=Role.SIGNATAIRE), COMMUNE),
        (ADMINISTRATOR, OTHER_COMMUNE),
        (ADMINISTRATOR, "*"),
        (bearer(role=Role.OPERATOR), "*"),
    ],
)
async def test_the_seal_is_chosen_by_an_administrator_and_for_all_by_an_operator(
    bench: Bench, headers: dict[str, str], collectivite: str
) -> None:
    answer = await choose_seal(bench, has_seal=True, collectivite=collectivite, headers=headers)
    assert refusal(answer) == (403, "forbidden")
    assert not await sealed(bench)


async def test_a_host_without_a_seal_has_none_to_choose_and_one_to_leave(bench: Bench) -> None:
    app = service_app("signature", "", checks={})
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=False)
    app.include_router(administration_routes(administration, caller=caller_dependency(checker())))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://signature", headers=ADMINISTRATOR) as http:
        other = Bench(http, bench.history, bench.registries, NOW)
        assert refusal(await choose_seal(other, has_seal=True)) == (409, "no-seal")
        assert (await choose_seal(other, has_seal=False)).status_code == 200


async def test_the_setting_is_recorded_once_for_those_that_never_said_anything_of_the_seal(bench: Bench) -> None:
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=True)
    await choose_seal(bench, has_seal=False)
    third = "211111111"
    for _ in range(2):
        await asyncio.gather(*(administration.adopt_seal(frozenset({COMMUNE, third, "*"})) for _ in range(3)))
    assert [await sealed(bench, one) for one in (COMMUNE, third, "*")] == [False, True, True]
    opened, chosen = await bench.history.load(collectivite_stream(third).id)
    assert (chosen.actor, type(opened.data), type(chosen.data)) == (
        "signature",
        facts.CollectiviteOpened,
        facts.SealChosen,
    )
    assert "SEAL_COLLECTIVITES" in chosen.data.model_dump()["reason"]
    await choose_seal(bench, has_seal=False, collectivite="*", headers=OPERATOR)
    await administration.adopt_seal(frozenset({"*"}))
    assert not await sealed(bench, "*")


@pytest.mark.parametrize(
    "newer", [("circuit.set.v1", "circuit.set.v9"), ('"signature"', '"ratification"')], ids=["kind", "value"]
)
async def test_a_stream_that_a_newer_version_has_written_in_stops_no_start(
    newer: tuple[str, str], bench: Bench, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await set_circuit(bench, SIGNATURE)
    await database.execute("alter table journal disable trigger user")
    await database.execute("update journal set body = replace(body, $1, $2) where kind = 'circuit.set.v1'", *newer)
    await database.execute("alter table journal enable trigger user")
    administration = Administration(bench.history, bench.registries, lambda: NOW, has_key=True)
    with caplog.at_level(logging.WARNING):
        await administration.adopt_seal(frozenset({COMMUNE, "211111111"}))
    assert ("seal.not_adopted", COMMUNE) in [(one.message, vars(one).get("collectivite")) for one in caplog.records]
    assert [await sealed(bench, one) for one in (COMMUNE, "211111111")] == [False, True]

"""How serious a control is: for a collectivité or for all, by whom it may be said."""

import asyncpg
import pytest

from pes.schemas.packs import built_in
from shared.errors import NewerFactError
from shared.facts import flux
from shared.facts.collectivite import PolicySet
from shared.facts.streams import collectivite_stream, platform_stream
from shared.journal.postgres import Database
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.conftest import TestDatabase
from tests.integration.services.validation.bench import OPERATOR, Bench, codes
from tests.judging import changed_sample, replacing
from tests.real.platform import sample


async def test_the_policy_of_a_collectivite_counts_for_it_alone(bench: Bench) -> None:
    bad = changed_sample(replacing('(?<=<NbrPce V=")2', "3"))
    change = {"collectivite": COMMUNE, "severity": "warning", "reason": "éditeur en cours de correction"}
    administrator = bearer(role=Role.ADMINISTRATEUR)
    answer = await bench.http.put("/v1/controls/bordereau.pieces", json=change, headers=administrator)
    assert answer.status_code == 200, answer.text
    _, fact = await bench.judged(bad)
    assert isinstance(fact, flux.FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["bordereau.pieces"]
    listed = (await bench.http.get(f"/v1/controls?collectivite={COMMUNE}")).json()
    changed = next(one for one in listed["controls"] if one["code"] == "bordereau.pieces")
    assert (changed["severity"], changed["default"]) == ("warning", "blocking")
    assert listed["changes"][0]["reason"] == change["reason"]
    other = await bench.http.get(
        "/v1/controls", params={"collectivite": OTHER_COMMUNE}, headers=bearer(OTHER_COMMUNE)
    )
    assert (
        next(one for one in other.json()["controls"] if one["code"] == "bordereau.pieces")["severity"] == "blocking"
    )
    back = {**change, "severity": "default"}
    await bench.http.put("/v1/controls/bordereau.pieces", json=back, headers=administrator)
    _, fact = await bench.judged(bad + b"\n")
    assert codes(fact) == {"bordereau.pieces"}


@pytest.mark.parametrize(
    ("code", "collectivite", "role", "status"),
    [
        ("reader.doctype", COMMUNE, Role.ADMINISTRATEUR, 409),
        ("nothing", COMMUNE, Role.ADMINISTRATEUR, 404),
        ("bordereau.total", OTHER_COMMUNE, Role.ADMINISTRATEUR, 403),
        ("bordereau.total", "*", Role.ADMINISTRATEUR, 403),
        ("bordereau.total", COMMUNE, Role.GESTIONNAIRE, 403),
        ("bordereau.total", "*", Role.OPERATOR, 403),  # an operator of the commune alone
    ],
)
async def test_a_control_changes_only_as_it_may(
    bench: Bench, code: str, collectivite: str, role: Role, status: int
) -> None:
    change = {"collectivite": collectivite, "severity": "warning", "reason": "pour voir"}
    answer = await bench.http.put(f"/v1/controls/{code}", json=change, headers=bearer(role=role))
    assert answer.status_code == status


async def test_who_administers_one_and_reads_another_changes_nothing_there(bench: Bench) -> None:
    who = bearer(role=Role.ADMINISTRATEUR, also={OTHER_COMMUNE: Role.AUDITEUR})
    assert (await bench.http.get(f"/v1/controls?collectivite={OTHER_COMMUNE}", headers=who)).status_code == 200
    change = {"collectivite": OTHER_COMMUNE, "severity": "warning", "reason": "pour voir"}
    answer = await bench.http.put("/v1/controls/bordereau.total", json=change, headers=who)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:heliotrope:problem:forbidden")
    flux_id, _ = await bench.judged(sample(1), OTHER_COMMUNE)
    path = f"/v1/flux/{flux_id}/duplicate-acceptance"
    assert (await bench.http.post(path, json={"reason": "parce que", "version": 2}, headers=who)).status_code == 403


async def test_a_collectivite_that_takes_back_its_policy_has_that_of_all(bench: Bench) -> None:
    async def say(collectivite: str, severity: str) -> None:
        change = {"collectivite": collectivite, "severity": severity, "reason": "pour voir"}
        assert (await bench.http.put("/v1/controls/pes.siret", json=change, headers=OPERATOR)).status_code == 200

    for collectivite, severity, expected in (
        ("*", "blocking", "blocking"),
        (COMMUNE, "warning", "warning"),
        (COMMUNE, "default", "blocking"),
        ("*", "default", None),
    ):
        await say(collectivite, severity)
        assert (await bench.judges.policies.of(COMMUNE)).get("pes.siret") == expected


async def test_what_is_said_of_a_control_is_a_fact_once(bench: Bench, database: Database) -> None:
    change = {"collectivite": COMMUNE, "severity": "warning", "reason": "pour voir"}
    for collectivite, reason in ((COMMUNE, "pour voir"), (COMMUNE, "pour mieux voir"), ("*", "pour voir")):
        body = change | {"collectivite": collectivite, "reason": reason}
        answer = await bench.http.put("/v1/controls/pes.siret", json=body, headers=OPERATOR)
        assert (answer.json()["changed_by"], answer.json()["reason"]) == ("amina", "pour voir")
    said = PolicySet(code="pes.siret", severity="warning", reason="pour voir")
    ours = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [event.data for event in ours if event.actor == "amina"] == [said]
    assert {event.collectivite for event in ours} == {COMMUNE}
    (of_all,) = await bench.history.load(platform_stream("defaults").id)
    assert (of_all.data, of_all.collectivite) == (said, "*")
    listed = await bench.judges.policies.changes(COMMUNE)
    assert [one.collectivite for one in listed] == ["*", COMMUNE]
    await database.execute("select rebuild_projection('policies')")
    assert await bench.judges.policies.changes(COMMUNE) == listed


async def test_only_facts_change_what_packs_and_controls_are(bench: Bench, test_database: TestDatabase) -> None:
    await bench.judges.packs.keep(built_in())
    async with Database(test_database.dsn("heliotrope_validation")) as service:
        for statement in (
            "insert into control_policy select * from control_policy",
            "insert into schema_pack select * from schema_pack",
            "update schema_pack set use = 'active'",
            "delete from control_policy",
            "update schema_archive set archive = ''",
            "select rebuild_projection('packs')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    async with Database(test_database.dsn()) as owner:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute("delete from schema_archive")


async def test_a_severity_that_a_newer_version_knows_sets_aside_what_is_judged_by_it(
    bench: Bench, database: Database
) -> None:
    change = {"collectivite": COMMUNE, "severity": "warning", "reason": "éditeur en cours de correction"}
    administrator = bearer(role=Role.ADMINISTRATEUR)
    assert (await bench.http.put("/v1/controls/bordereau.pieces", json=change, headers=administrator)).is_success
    await database.execute("alter table control_policy disable trigger user")
    await database.execute("alter table control_policy drop constraint if exists control_policy_severity_check")
    await database.execute("update control_policy set severity = 'advisory'")
    with pytest.raises(NewerFactError) as newer:
        await bench.judges.policies.of(COMMUNE)
    assert newer.value.kind == "policy.set.v1"

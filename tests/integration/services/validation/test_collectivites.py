"""Who a collectivité is, for real: what is registered, who may, and what becomes of the flux that name it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from pes.sample import SampleSpec, build_sample, siret_of
from services.validation.handler import REGISTERED_MEANWHILE, on_registered
from services.validation.ports import Collectivites
from shared.facts.collectivite import (
    Budget,
    CollectiviteOpened,
    Identifier,
    IdentifierRegistered,
    PolicySet,
    Siret,
)
from shared.facts.envelope import Event
from shared.facts.fact import kind_of
from shared.facts.flux import (
    DuplicateAccepted,
    FluxImported,
    FluxInvalidated,
    FluxValidated,
    IdentifiersCompleted,
)
from shared.facts.reservations import nomfic_reservation
from shared.facts.streams import BY_KIND, collectivite_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.web.auth import Role
from tests import examples as an
from tests import identities
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.granting import say
from tests.identities import named_in
from tests.integration.services.validation.bench import OPERATOR, SENT, Bench, codes
from tests.judging import changed_sample, replacing
from tests.recording import begun

OURS = SampleSpec()
THEIRS = SampleSpec(siret=siret_of(OTHER_COMMUNE), cod_col="456")
OUR_BUDGET = named_in(OURS)[1].model_dump()
ADMINISTRATOR = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR, subject="bastien")
MANAGER = bearer(OTHER_COMMUNE, role=Role.GESTIONNAIRE)


async def register(bench: Bench, headers: Mapping[str, str] = ADMINISTRATOR, **asked: object) -> httpx.Response:
    path = f"/v1/collectivites/{OTHER_COMMUNE}/identifiers"
    return await bench.http.post(path, json={"reason": "Adhésion", **asked}, headers=headers)


async def refused(bench: Bench, spec: SampleSpec) -> tuple[UUID, FluxInvalidated]:
    """Import a flux of the other collectivité, and return why it is refused."""
    flux_id, fact = await bench.judged(build_sample(spec), OTHER_COMMUNE)
    assert isinstance(fact, FluxInvalidated)
    return flux_id, fact


async def test_a_file_of_another_siren_is_invalid_and_no_policy_helps(bench: Bench) -> None:
    change = {"severity": "warning", "reason": "essai", "collectivite": OTHER_COMMUNE}
    answer = await bench.http.put("/v1/controls/pes.siren", json=change, headers=OPERATOR)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:control-fixed")
    softened = PolicySet(code="pes.siren", severity="warning", reason="avant")
    await say(bench.history, softened, collectivite=OTHER_COMMUNE)
    flux_id, fact = await refused(bench, OURS)
    assert codes(fact) == {"pes.siren"}
    assert fact.header is not None
    assert await bench.history.holder(nomfic_reservation(COMMUNE, fact.header)) is None
    answer = await register(bench, flux_id=str(flux_id))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:heliotrope:problem:identifier-of-another")
    _, ours = await bench.judged(build_sample(OURS))
    assert isinstance(ours, FluxValidated)


async def test_nobody_registers_the_budget_of_another_collectivite_nor_learns_whose_it_is(bench: Bench) -> None:
    answer = await register(bench, identifiers=[named_in(THEIRS)[0].model_dump(), OUR_BUDGET])
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:identifier-taken")
    assert COMMUNE not in answer.text
    assert "votre hébergeur" in answer.json()["detail"]
    assert await bench.history.load(collectivite_stream(OTHER_COMMUNE).id) == []
    answer = await register(bench, OPERATOR, identifiers=[OUR_BUDGET])
    assert COMMUNE in answer.json()["detail"]


async def test_whose_a_budget_is_can_be_told_when_a_newer_version_writes_about_it(
    bench: Bench, database: Database
) -> None:
    await database.execute("alter table journal disable trigger user")
    await database.execute(
        "update journal set body = replace(body, 'identifier.registered.v1', 'identifier.registered.v9')"
    )
    await database.execute("alter table journal enable trigger user")
    answer = await register(bench, OPERATOR, identifiers=[OUR_BUDGET])
    assert answer.json()["type"] == "urn:heliotrope:problem:identifier-taken"
    assert COMMUNE in answer.json()["detail"]


async def test_the_operator_gives_a_budget_to_whose_it_is(bench: Bench) -> None:
    asked = {"identifiers": [OUR_BUDGET], "reason": "Le comptable l’attribue à une autre"}
    path = f"/v1/collectivites/{COMMUNE}/identifiers/withdrawal"
    assert (await bench.http.post(path, json=asked, headers=OPERATOR)).status_code == 200
    assert (await register(bench, identifiers=[OUR_BUDGET])).status_code == 200


@pytest.mark.parametrize(
    "spec",
    [replace(OURS, id_post="031007"), replace(OURS, cod_col="777"), replace(OURS, cod_bud="07")],
    ids=["IdPost", "CodCol", "CodBud"],
)
async def test_a_file_that_names_a_budget_nobody_registered_is_refused(bench: Bench, spec: SampleSpec) -> None:
    _, fact = await bench.judged(build_sample(spec))
    assert codes(fact) == {"identifier.not-registered"}


async def test_one_step_ends_what_a_flux_was_refused_for(bench: Bench) -> None:
    flux_id, fact = await refused(bench, THEIRS)
    assert codes(fact) == {"identifier.not-registered"}
    for finding in (one for one in fact.findings if one.severity == "blocking"):
        assert f"heliotrope collectivites identifiers add {flux_id}" in finding.next
        assert "CodCol 456" in finding.next
    answer = await register(bench, flux_id=str(flux_id))
    assert answer.status_code == 200, answer.text
    assert answer.json()["flux"] == {
        "flux_id": str(flux_id),
        "state": "imported",
        "on_screen": "En cours de contrôle",
        "is_judged_anew": True,
    }
    again = (await bench.history.load(flux_id))[-1]
    assert (again.data, again.actor) == (IdentifiersCompleted(reason="Adhésion"), "bastien")
    await bench.hear(again)
    assert isinstance(await bench.last(flux_id), FluxValidated)
    answer = await register(bench, flux_id=str(flux_id))  # asked twice, it is done once
    assert (answer.json()["recorded"], answer.json()["flux"]["is_judged_anew"]) == ([], False)


async def test_every_flux_that_was_refused_for_nothing_else_is_judged_anew(bench: Bench) -> None:
    first, second = [(await refused(bench, replace(THEIRS, number=number)))[0] for number in (1, 2)]
    elsewhere, _ = await refused(bench, replace(THEIRS, number=3, cod_bud="07"))
    ours, _ = await bench.judged(build_sample(replace(OURS, cod_col="777")))
    answer = await register(bench, flux_id=str(first))
    assert answer.json()["others_judged_anew"] == [str(second)]
    for flux_id, expected in (
        (second, IdentifiersCompleted),
        (elsewhere, FluxInvalidated),
        (ours, FluxInvalidated),
    ):
        assert isinstance(await bench.last(flux_id), expected)


async def test_what_was_registered_otherwise_has_the_flux_judged_anew_too(bench: Bench) -> None:
    flux_id, _ = await refused(bench, THEIRS)
    answer = await register(bench, identifiers=[one.model_dump() for one in named_in(THEIRS)])
    assert answer.json()["others_judged_anew"] == [str(flux_id)]


async def test_a_flux_that_was_judged_while_it_was_registered_is_judged_anew_when_asked(bench: Bench) -> None:
    await register(bench, identifiers=[one.model_dump() for one in named_in(THEIRS)])
    event = await bench.imported(build_sample(THEIRS), OTHER_COMMUNE)
    header = an.header.model_copy(update={"id_coll": THEIRS.siret, "cod_col": THEIRS.cod_col})
    finding = an.finding.model_copy(update={"code": "identifier.not-registered"})
    await bench.add(event.flux_id, FluxInvalidated(findings=(finding,), header=header))
    answer = await register(bench, flux_id=str(event.flux_id))
    assert (answer.json()["recorded"], answer.json()["flux"]["is_judged_anew"]) == ([], True)


async def test_a_flux_that_is_being_judged_while_it_is_registered_is_judged_anew(bench: Bench) -> None:
    known = Interrupted(bench.judges.collectivites, bench)
    event = await bench.imported(build_sample(THEIRS), OTHER_COMMUNE)
    judges = replace(bench.judges, collectivites=known)
    await replace(bench, judges=judges).hear(event)
    assert known.answers == [(200, [])]  # nothing was refused yet
    past = await bench.history.load(event.flux_id)
    assert [type(one.data) for one in past] == [FluxImported, FluxInvalidated, IdentifiersCompleted]
    await bench.hear(past[-1])
    assert isinstance(await bench.last(event.flux_id), FluxValidated)


@dataclass
class Interrupted:
    """What is registered, as it was just before someone registers all that the flux name."""

    real: Collectivites
    bench: Bench
    answers: list[tuple[int, list[str]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def identifiers(self, siren: str) -> frozenset[Identifier]:
        before = await self.real.identifiers(siren)
        if not self.answers:
            answer = await register(self.bench, identifiers=[one.model_dump() for one in named_in(THEIRS)])
            self.answers.append((answer.status_code, answer.json()["others_judged_anew"]))
        return before


async def test_a_judge_who_was_stopped_after_its_refusal_looks_when_the_message_comes_again(bench: Bench) -> None:
    event = await bench.imported(build_sample(THEIRS), OTHER_COMMUNE)
    await bench.hear(event)
    await registered_by_whoever_was_stopped(bench)
    await bench.hear(event)
    last = (await bench.history.load(event.flux_id))[-1]
    assert (last.data, last.actor) == (IdentifiersCompleted(reason=REGISTERED_MEANWHILE), "validation")
    await bench.hear(last)
    await bench.hear(event)
    assert isinstance(await bench.last(event.flux_id), FluxValidated)


async def test_what_was_registered_by_whoever_was_stopped_then_has_refused_flux_judged_anew(bench: Bench) -> None:
    first, second = [(await refused(bench, replace(THEIRS, number=number)))[0] for number in (1, 2)]
    elsewhere, _ = await refused(bench, replace(THEIRS, number=3, cod_bud="07"))
    recorded = await registered_by_whoever_was_stopped(bench)
    for _ in range(2):  # it is heard twice, and done once
        for event in recorded:
            await heard(bench, event)
    for flux_id in (first, second):
        last = (await bench.history.load(flux_id))[-1]
        assert (last.data, last.actor) == (IdentifiersCompleted(reason=identities.REASON), "bastien")
        assert last.version == 3
    assert isinstance(await bench.last(elsewhere), FluxInvalidated)


async def test_who_registers_is_told_what_was_judged_anew_even_by_whoever_heard_of_it_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [(await refused(bench, replace(THEIRS, number=number)))[0] for number in (1, 2)]
    append = PostgresHistory.append

    async def append_and_be_heard(history: PostgresHistory, events: Sequence[Event], **how: Any) -> list[Event]:
        recorded = await append(history, events, **how)
        for event in recorded:
            if isinstance(event.data, IdentifierRegistered):
                await heard(bench, event)
        return recorded

    monkeypatch.setattr(PostgresHistory, "append", append_and_be_heard)
    answer = (await register(bench, flux_id=str(first))).json()
    assert (answer["flux"]["is_judged_anew"], answer["others_judged_anew"]) == (True, [str(second)])
    assert len(await bench.history.load(first)) == len(await bench.history.load(second)) == 3


async def test_a_flux_that_a_newer_version_wrote_to_keeps_no_other_from_being_heard_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, fact = await refused(bench, THEIRS)
    await bench.add(aside, an.duplicate_accepted, fact)
    other, _ = await refused(bench, replace(THEIRS, number=2))
    (*_, event) = await registered_by_whoever_was_stopped(bench)
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(DuplicateAccepted))
        await heard(bench, event)
    assert isinstance(await bench.last(other), IdentifiersCompleted)
    assert isinstance(await bench.last(aside), FluxInvalidated)


async def registered_by_whoever_was_stopped(bench: Bench) -> list[Event]:
    """Record what the API would, and nothing after it."""
    siren = OTHER_COMMUNE
    opened = CollectiviteOpened(siren=siren, reason=identities.REASON)
    facts = [opened, *(IdentifierRegistered(identifier=one, reason=identities.REASON) for one in named_in(THEIRS))]
    stream, at = collectivite_stream(siren), bench.judges.now()
    events = [begun(fact, stream=stream, collectivite=siren, actor="bastien", at=at) for fact in facts]
    return (await bench.history.append(events, expected_version=0))[1:]


async def heard(bench: Bench, event: Event) -> None:
    assert isinstance(event.data, IdentifierRegistered)
    judges = bench.judges
    await on_registered(event, event.data, collectivites=judges.collectivites, history=judges.history, now=judges.now)


async def test_a_flux_with_other_faults_is_not_judged_anew(bench: Bench) -> None:
    content = changed_sample(replacing('(?<=<TypPce V=")01', "99"), siret=THEIRS.siret, cod_col="456")
    flux_id, fact = await bench.judged(content, OTHER_COMMUNE)
    assert codes(fact) == {"identifier.not-registered", "schema.enumeration"}
    answer = await register(bench, flux_id=str(flux_id))
    assert (answer.json()["flux"]["state"], answer.json()["flux"]["is_judged_anew"]) == ("invalid", False)
    assert len(answer.json()["identifiers"]) == 2


async def test_what_was_withdrawn_blocks_the_next_flux(bench: Bench) -> None:
    asked = {"identifiers": [OUR_BUDGET], "reason": "Budget dissous"}
    path = f"/v1/collectivites/{COMMUNE}/identifiers/withdrawal"
    administrator = bearer(role=Role.ADMINISTRATEUR)
    assert (await bench.http.post(path, json=asked, headers=administrator)).status_code == 200
    _, fact = await bench.judged(build_sample(OURS))
    assert codes(fact) == {"identifier.not-registered"}
    shown = (await bench.http.get(f"/v1/collectivites/{COMMUNE}")).json()
    assert [one["identifier"]["type"] for one in shown["identifiers"]] == ["siret"]
    again = await bench.http.post(path, json=asked, headers=administrator)
    assert (again.status_code, again.json()["recorded"]) == (200, [])


async def test_two_collectivites_that_register_one_budget_at_once_do_not_both_get_it(bench: Bench) -> None:
    disputed = Budget(id_post="031007", cod_col="100", cod_bud="00").model_dump()

    async def ask(siren: str) -> int:
        path = f"/v1/collectivites/{siren}/identifiers"
        asked = {"identifiers": [disputed], "reason": "Le nôtre"}
        return (await bench.http.post(path, json=asked, headers=OPERATOR)).status_code

    sirens = [f"2100000{number:02}" for number in range(6)]
    assert sorted(await asyncio.gather(*map(ask, sirens))) == [200, 409, 409, 409, 409, 409]


async def test_registrations_of_one_collectivite_at_once_are_all_kept(bench: Bench) -> None:
    budgets = [Budget(id_post="031007", cod_col="100", cod_bud=f"{number:02}").model_dump() for number in range(5)]
    answers = await asyncio.gather(*(register(bench, identifiers=[one]) for one in [*budgets, budgets[0]]))
    assert {answer.status_code for answer in answers} == {200}
    past = await bench.history.load(collectivite_stream(OTHER_COMMUNE).id)
    assert sum(isinstance(event.data, IdentifierRegistered) for event in past) == 5


async def test_who_administers_elsewhere_or_only_manages_registers_nothing(bench: Bench) -> None:
    flux_id, _ = await refused(bench, THEIRS)
    for headers in (MANAGER, bearer(role=Role.ADMINISTRATEUR)):
        assert (await register(bench, headers, flux_id=str(flux_id))).status_code == 403
    choice = {"channel": "passtrans-ftp", "reason": "essai"}
    path = f"/v1/collectivites/{OTHER_COMMUNE}/channel"
    assert (await bench.http.put(path, json=choice, headers=ADMINISTRATOR)).status_code == 403
    assert await bench.history.load(collectivite_stream(OTHER_COMMUNE).id) == []


async def test_a_flux_registers_nothing_for_another_collectivite(bench: Bench) -> None:
    flux_id, _ = await bench.judged(build_sample(OURS))
    everywhere = bearer(COMMUNE, OTHER_COMMUNE, role=Role.ADMINISTRATEUR)
    assert (await register(bench, everywhere, flux_id=str(flux_id))).status_code == 404


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"identifiers": [OUR_BUDGET], "flux_id": str(UUID(int=1))},
        {"identifiers": [{"type": "siret", "siret": "21990001700001x"}]},
        {"identifiers": [{"type": "budget", "id_post": "034990", "cod_col": "12", "cod_bud": "00"}]},
        {"identifiers": [OUR_BUDGET], "reason": " "},
    ],
    ids=["nothing", "both", "no SIRET", "no CodCol", "no reason"],
)
async def test_a_registration_that_cannot_be_read_is_refused(bench: Bench, asked: dict[str, object]) -> None:
    assert (await register(bench, ADMINISTRATOR, **asked)).status_code == 422


async def test_a_file_is_checked_with_the_identifiers_too(bench: Bench) -> None:
    headers = {**MANAGER, "Content-Type": "application/xml", "X-Collectivite": OTHER_COMMUNE}
    answer = await bench.http.post("/v1/checks", content=build_sample(THEIRS), headers=headers)
    (told,) = answer.json()
    missing = [one for one in told["findings"] if one["code"] == "identifier.not-registered"]
    assert (told["verdict"], len(missing)) == ("invalid", 2)
    command = f"identifiers add --collectivite {OTHER_COMMUNE} --siret {THEIRS.siret} --budget 034990/456/00"
    assert command in missing[0]["next"]


async def test_what_acknowledged_flux_have_named_is_listed_and_nothing_more(bench: Bench) -> None:
    spec = replace(THEIRS, cod_bud="01")
    await register(bench, identifiers=[one.model_dump() for one in (*named_in(THEIRS), named_in(spec)[1])])
    for one, ends in ((THEIRS, True), (spec, False)):
        flux_id, _ = await bench.judged(build_sample(one), OTHER_COMMUNE)
        if ends:
            await bench.add(flux_id, *SENT, an.acknowledged)
    asked = {"identifiers": [one.model_dump() for one in named_in(THEIRS)], "reason": "Pour l'essai"}
    path = f"/v1/collectivites/{OTHER_COMMUNE}/identifiers"
    await bench.http.post(f"{path}/withdrawal", json=asked, headers=ADMINISTRATOR)
    seen = (await bench.http.get(f"{path}/seen", headers=ADMINISTRATOR)).json()["seen"]
    assert [(one["identifier"], one["flux"]) for one in seen] == [
        (named.model_dump(), 1) for named in named_in(THEIRS)
    ]


async def test_collectivites_are_shown_to_those_who_read_in_them(bench: Bench) -> None:
    await register(bench, identifiers=[Siret(siret=THEIRS.siret).model_dump()])
    for headers, expected in (
        (bearer(), [COMMUNE]),
        (MANAGER, [OTHER_COMMUNE]),
        (OPERATOR, [COMMUNE, OTHER_COMMUNE]),
    ):
        listed = (await bench.http.get("/v1/collectivites", headers=headers)).json()["collectivites"]
        assert [one["siren"] for one in listed] == sorted(expected)
    assert (await bench.http.get(f"/v1/collectivites/{OTHER_COMMUNE}")).status_code == 403
    answer = await bench.http.get("/v1/collectivites/210000012", headers=OPERATOR)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:heliotrope:problem:collectivite-not-open")


async def test_the_operator_chooses_the_channel(bench: Bench) -> None:
    path = f"/v1/collectivites/{COMMUNE}/channel"
    for _ in range(2):
        choice = {"channel": "passtrans-ftp", "reason": "Convention"}
        assert (await bench.http.put(path, json=choice, headers=OPERATOR)).status_code == 200
    assert (await bench.http.get(f"/v1/collectivites/{COMMUNE}")).json()["channel"] == "passtrans-ftp"
    past = await bench.history.load(collectivite_stream(COMMUNE).id)
    assert [event.kind for event in past].count("channel.chosen.v1") == 1


async def test_what_is_registered_can_be_made_again_from_the_facts(bench: Bench, database: Database) -> None:
    before = (await bench.http.get(f"/v1/collectivites/{COMMUNE}")).json()
    await database.execute("delete from identifier")
    await database.execute("select rebuild_projection('identifiers')")
    assert (await bench.http.get(f"/v1/collectivites/{COMMUNE}")).json() == before


async def test_a_flux_that_a_newer_version_wrote_to_keeps_no_other_from_being_judged_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, fact = await refused(bench, THEIRS)
    last = (await bench.history.load(aside))[-1]
    accepted = last.follow(an.duplicate_accepted, actor="amina", at=bench.judges.now())
    again = accepted.follow(fact, actor="validation", at=bench.judges.now())
    await bench.history.append([accepted, again], expected_version=last.version)
    other, _ = await refused(bench, replace(THEIRS, number=2))
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(DuplicateAccepted))
        answer = await register(bench, identifiers=[one.model_dump() for one in named_in(THEIRS)])
    assert (answer.status_code, answer.json()["others_judged_anew"]) == (200, [str(other)])
    answer = await register(bench, identifiers=[one.model_dump() for one in named_in(THEIRS)])
    assert (answer.json()["recorded"], answer.json()["others_judged_anew"]) == ([], [str(aside)])

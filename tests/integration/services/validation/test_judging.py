"""A flux is judged: valid or not, infected, or a repetition of another."""

import asyncio
import gzip
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from pes.schemas.packs import built_in
from services.validation.adapters.clamd import Clamd
from shared.errors import UnavailableError, VersionConflictError
from shared.facts import flux
from shared.facts.envelope import Event
from shared.facts.lifecycles.flux import fold
from shared.facts.streams import BY_KIND
from shared.web.auth import Role
from tests import examples as an
from tests.callers import OTHER_COMMUNE, bearer
from tests.fakes.clamd import MARK, fake_clamd
from tests.integration.services.validation.bench import OPERATOR, SENT, Bench, codes, renamed
from tests.judging import changed_sample, replacing
from tests.real.platform import sample


async def test_a_good_flux_is_validated_with_the_pack_that_applied(bench: Bench) -> None:
    _, fact = await bench.judged(sample(1))
    assert isinstance(fact, flux.FluxValidated)
    assert fact.pack == built_in().pack
    assert (fact.warnings, fact.signature_required, len(fact.bordereaux)) == ((), True, 1)
    assert bench.scratch_files() == []


async def test_a_bad_flux_is_refused_with_findings(bench: Bench) -> None:
    _, fact = await bench.judged(changed_sample(replacing('(?<=<TypPce V=")01', "99")))
    assert codes(fact) == {"schema.enumeration"}


async def test_a_redelivery_changes_nothing(bench: Bench) -> None:
    event = await bench.imported(sample(1))
    await bench.hear(event)
    await bench.hear(event)
    assert len(await bench.history.load(event.flux_id)) == 2


async def test_a_nomfic_serves_once_in_a_codcol(bench: Bench) -> None:
    nomfic = "PES_1"
    first, _ = await bench.judged(renamed(sample(1), nomfic))
    _, fact = await bench.judged(renamed(sample(2), nomfic))
    assert codes(fact) == {"pes.nomfic-used"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert str(first) in fact.findings[0].message


async def test_a_flux_that_a_newer_version_wrote_to_keeps_its_names_and_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await bench.judged(renamed(sample(1), "PES_1"))
    await bench.add(first, an.signature_requested)
    monkeypatch.delitem(BY_KIND, "signature.requested.v1")
    _, fact = await bench.judged(renamed(sample(2), "PES_1"))
    assert codes(fact) == {"pes.nomfic-used"}
    answer = await bench.http.get(f"/v1/flux/{first}/findings")
    assert (answer.status_code, answer.json()["kind"]) == (409, "signature.requested.v1")


async def test_nobody_takes_the_nomfic_of_another_collectivite(bench: Bench) -> None:
    for code in ("pes.siren", "identifier.not-registered", "schema"):
        change = {"severity": "warning", "reason": "essai", "collectivite": OTHER_COMMUNE}
        await bench.http.put(f"/v1/controls/{code}", json=change, headers=OPERATOR)
    _, fact = await bench.judged(renamed(sample(1), "PES_1"), OTHER_COMMUNE)
    assert codes(fact) == {"pes.siren"}
    _, fact = await bench.judged(renamed(sample(2), "PES_1"))
    assert isinstance(fact, flux.FluxValidated)


async def test_a_cancelled_flux_gives_its_nomfic_and_its_bordereaux_back(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, flux.FluxCancelled(reason="erreur"))
    _, fact = await bench.judged(sample(1) + b"\n")
    assert isinstance(fact, flux.FluxValidated)


async def test_a_bordereau_that_was_sent_already_is_refused(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT)
    again, fact = await bench.judged(renamed(sample(1), "PES_2"))
    assert codes(fact) == {"bordereau.already-sent"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert str(first) in fact.findings[0].message
    assert "En attente d’AR" in fact.findings[0].message
    assert fact.findings[0].where.bordereau
    seen = {"reason": "La DGFiP le demande", "version": 2}
    answer = await bench.http.post(f"/v1/flux/{again}/duplicate-acceptance", json=seen)
    assert (answer.status_code, answer.json()["state"]) == (202, "imported")
    accepted = (await bench.history.load(again))[-1]
    named = flux.DuplicateAccepted(reason="La DGFiP le demande", repeats=(first,))
    assert (accepted.data, accepted.actor) == (named, "amina")
    await bench.hear(accepted)
    fact = await bench.last(again)
    assert isinstance(fact, flux.FluxValidated)
    assert [finding.code for finding in fact.warnings] == ["bordereau.already-sent"]
    assert fact.bordereaux[0].is_repeated


async def accept(bench: Bench, flux_id: UUID) -> Event:
    """Have someone answer for a duplicate, and return the event."""
    seen = len(await bench.history.load(flux_id))
    path = f"/v1/flux/{flux_id}/duplicate-acceptance"
    answer = await bench.http.post(path, json={"reason": "Renvoi", "version": seen})
    assert answer.status_code == 202, answer.text
    return (await bench.history.load(flux_id))[-1]


async def test_what_was_accepted_of_one_flux_is_refused_of_another_that_came_between(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT)
    again, _ = await bench.judged(renamed(sample(1), "PES_2"))
    accepted = await accept(bench, again)
    await bench.add(first, an.reply_received, an.rejected)
    third, fact = await bench.judged(renamed(sample(1), "PES_3"))
    assert isinstance(fact, flux.FluxValidated)
    await bench.hear(accepted)
    fact = await bench.last(again)
    assert codes(fact) == {"bordereau.already-sent"}
    assert isinstance(fact, flux.FluxInvalidated)
    assert fact.repeats == (third,)
    assert str(third) in fact.findings[0].message
    await bench.hear(await accept(bench, again))
    assert isinstance(await bench.last(again), flux.FluxValidated)


async def test_an_acceptance_meant_for_one_flux_is_none_of_another_that_nobody_saw(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT)
    again, _ = await bench.judged(renamed(sample(1), "PES_2"))
    seen_by_both = {"reason": "Renvoi", "version": len(await bench.history.load(again))}
    path = f"/v1/flux/{again}/duplicate-acceptance"
    assert (await bench.http.post(path, json=seen_by_both)).status_code == 202
    (accepted,) = (await bench.history.load(again))[-1:]
    await bench.add(first, an.reply_received, an.rejected)
    third, _ = await bench.judged(renamed(sample(1), "PES_3"))
    await bench.hear(accepted)  # refused anew, for the third
    late = await bench.http.post(path, json=seen_by_both)
    assert (late.status_code, late.json()["type"]) == (409, "urn:heliotrope:problem:flux-changed")
    assert late.json()["version"] == len(await bench.history.load(again))
    last = await bench.last(again)
    assert isinstance(last, flux.FluxInvalidated)
    assert last.repeats == (third,)


async def test_an_acceptance_that_does_not_say_of_which_flux_lets_nothing_pass(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    again, _ = await bench.judged(renamed(sample(1), "PES_2"))
    await bench.add(again, an.duplicate_accepted)  # as older versions recorded it
    await bench.hear((await bench.history.load(again))[-1])
    assert codes(await bench.last(again)) == {"bordereau.already-sent"}
    accepted = await accept(bench, again)
    assert accepted.data == flux.DuplicateAccepted(reason="Renvoi", repeats=(first,))
    await bench.hear(accepted)
    assert isinstance(await bench.last(again), flux.FluxValidated)


async def test_a_bordereau_of_a_rejected_flux_may_come_again(bench: Bench) -> None:
    first, _ = await bench.judged(sample(1))
    await bench.add(first, *SENT, an.reply_received, flux.FluxRejected(reply=an.reply, errors=()))
    _, fact = await bench.judged(renamed(sample(1), "PES_2"))
    assert isinstance(fact, flux.FluxValidated)


async def test_the_same_bordereau_at_the_same_instant_passes_once(bench: Bench) -> None:
    events = [await bench.imported(renamed(sample(1), f"PES_{number}")) for number in range(4)]

    async def hear(event: Event) -> None:
        for _ in range(20):
            try:
                await bench.hear(event)
            except VersionConflictError:
                continue  # as the consumer does
            return

    await asyncio.gather(*(hear(event) for event in events))
    states = [fold(one.data for one in await bench.history.load(event.flux_id)).state for event in events]
    assert sorted(str(state) for state in states) == ["draft", "invalid", "invalid", "invalid"]


async def test_two_flux_that_hold_the_same_bordereaux_in_other_orders_do_not_lock_each_other(bench: Bench) -> None:
    bordereaux = tuple(an.bordereau.model_copy(update={"number": str(number)}) for number in range(300))
    events: list[Event] = []
    for order in (bordereaux, bordereaux[::-1]):
        header = an.header.model_copy(update={"nomfic": f"PES_{len(events)}"})
        fact = an.validated.model_copy(update={"bordereaux": order, "header": header})
        imported = await bench.imported(sample(len(events) + 1))
        events.append(imported.follow(fact, actor="x", at=datetime.now(UTC)))
    results = await asyncio.gather(
        *(bench.history.append([event], expected_version=1) for event in events), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["NameTakenError", "list"]


async def test_only_a_duplicate_can_be_accepted(bench: Bench) -> None:
    flux_id, _ = await bench.judged(changed_sample(replacing('(?<=<TypPce V=")01', "99")))
    answer = await bench.http.post(
        f"/v1/flux/{flux_id}/duplicate-acceptance", json={"reason": "parce que", "version": 2}
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:heliotrope:problem:not-a-duplicate")
    answer = await bench.http.post(
        f"/v1/flux/{flux_id}/duplicate-acceptance",
        json={"reason": "x" * 9, "version": 2},
        headers=bearer(role=Role.AUDITEUR),
    )
    assert answer.status_code == 403


async def test_the_antivirus_refuses_what_is_infected_and_makes_wait_what_it_cannot_scan(bench: Bench) -> None:
    async with fake_clamd(bench.folder / "clamd.ctl") as clamd:
        bench.judges = replace(bench.judges, antivirus=Clamd(clamd.address, seconds_max=5))
        _, fact = await bench.judged(sample(1).replace(b"</n:PES_Aller>", b"<!-- " + MARK + b" --></n:PES_Aller>"))
        assert codes(fact) == {"antivirus.infected"}
        packed = b64encode(gzip.compress(b"%PDF-1.7 " + MARK)).decode()
        flux_id, fact = await bench.judged(
            changed_sample(replacing(r'(?<="application/pdf">)[^<]*', packed), number=3)
        )
        assert codes(fact) == {"antivirus.infected"}
        refused = await bench.http.get(f"/v1/flux/{flux_id}/attachments/1")
        assert (refused.status_code, refused.json()["title"]) == (422, "Fichier infecté")
        event = await bench.imported(sample(2))
        clamd.mood = "error"
        with pytest.raises(UnavailableError):
            await bench.hear(event)
        clamd.mood = "well"
        await bench.hear(event)
        assert isinstance(await bench.last(event.flux_id), flux.FluxValidated)

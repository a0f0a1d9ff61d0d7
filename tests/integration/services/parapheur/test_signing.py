"""Signing over HTTP: prepared, signed with a key that stays elsewhere, brought back, recorded once."""

import asyncio
from datetime import timedelta
from uuid import UUID

from shared.facts import flux as facts
from shared.facts.envelope import new_id
from shared.facts.lifecycles.flux import State
from shared.runtime.documents import path_of
from shared.web.auth import Role
from tests.callers import bearer
from tests.integration.services.parapheur.bench import ADMINISTRATOR, Bench, completion_of, problem_of
from tests.parapheur import DEPUTY, MAYOR, refusal
from tests.pki import intermediate, issue, rsa_key
from tests.real.platform import sample
from tests.signing import NOW, verify_both

DOMINIQUE = bearer(role=Role.SIGNATAIRE, subject=DEPUTY)


async def test_a_flux_is_prepared_signed_brought_back_and_ready(bench: Bench) -> None:
    flux_id = await bench.waiting()
    (pending,) = (await bench.http.get("/v1/signatures/pending")).json()["flux"]
    assert (pending["flux_id"], pending["kind"], pending["filename"]) == (str(flux_id), "signature", "flux.xml")
    prepared = await bench.prepare(flux_id)
    assert prepared["signing_time"] == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    (done,) = await bench.complete(prepared)
    assert (done["status"], done["state"]) == ("signed", "to_sign")
    await bench.hear(flux_id)

    assert (await bench.flux(flux_id)).state is State.READY
    signed = await bench.last(flux_id)
    assert isinstance(signed, facts.FluxSigned)
    assert [one.mandate.person for one in signed.signatures if one.mandate] == [MAYOR]
    assert len(verify_both(await bench.documents.read(signed.document.sha256))) == 1
    assert [event.actor for event in await bench.history.load(flux_id)][-2:] == [MAYOR, "signature"]
    assert (await bench.http.get("/v1/signatures/pending")).json() == {"flux": [], "more": False}


async def test_many_flux_are_signed_at_once_and_each_is_answered_for(bench: Bench) -> None:
    waiting = [await bench.waiting(number) for number in range(1, 4)]
    paper = (await bench.validated(sample(9, is_dematerialised=False))).flux_id
    unknown = new_id()
    prepared = await bench.prepare(*waiting, paper, unknown, waiting[0])
    told = {UUID(item["flux_id"]): item for item in prepared["items"]}
    assert list(told) == [*waiting, paper, unknown]
    assert (refusal(told[paper]), refusal(told[unknown])) == ("not-waiting", "flux-not-found")
    assert [item["status"] for item in await bench.complete(prepared)] == ["signed"] * 3
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 3


async def test_two_signatories_of_one_flux_at_the_same_instant_sign_it_once(bench: Bench) -> None:
    flux_id = await bench.waiting()
    deputy = issue("Adjointe d'essai", rsa_key(7), intermediate())
    first = await bench.prepare(flux_id)
    second = await bench.prepare(flux_id, who=DOMINIQUE, holder=deputy)
    bench.documents.meeting = asyncio.Barrier(2)  # both have loaded, decided and verified before either records
    answers = await asyncio.gather(bench.complete(first), bench.complete(second, who=DOMINIQUE, holder=deputy))
    assert sorted(item["status"] for (item,) in answers) == ["refused", "signed"]
    (lost,) = [item for (item,) in answers if item["status"] == "refused"]
    assert refusal(lost) == "not-yours"
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 1
    fact = await bench.last(flux_id)
    assert isinstance(fact, facts.BordereauxSigned)
    assert len(verify_both(await bench.documents.read(fact.document.sha256))) == 1


async def test_a_completion_that_comes_twice_at_the_same_instant_is_recorded_once(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.documents.meeting = asyncio.Barrier(2)
    answers = await asyncio.gather(bench.complete(prepared), bench.complete(prepared))
    assert [item["status"] for (item,) in answers] == ["signed", "signed"]
    assert (await bench.kinds()).count("bordereaux.signed.v1") == 1


async def test_a_mandate_that_ends_between_the_two_requests_is_refused_at_the_second(bench: Bench) -> None:
    flux_id = await bench.waiting()
    mandates = (await bench.http.get("/v1/mandates")).json()["mandates"]
    (mandate_id,) = [one["mandate_id"] for one in mandates if one["person"] == MAYOR]
    prepared = await bench.prepare(flux_id)
    await bench.ask(f"/v1/mandates/{mandate_id}/end", {"reason": "Démission"}, ADMINISTRATOR)
    bench.now += timedelta(seconds=1)
    (item,) = await bench.complete(prepared)
    assert refusal(item) == "mandate.ended"
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)
    (again,) = (await bench.prepare(flux_id))["items"]
    assert refusal(again) == "mandate.ended"


async def test_what_was_prepared_too_long_ago_is_refused_as_a_whole(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.now += timedelta(minutes=16)
    answer = await bench.http.post("/v1/signatures/complete", json=completion_of(prepared))
    assert problem_of(answer) == (409, "prepared-too-long-ago")
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)


async def test_while_the_trust_list_cannot_be_read_nothing_is_signed_and_it_may_be_tried_again(bench: Bench) -> None:
    flux_id = await bench.waiting()
    prepared = await bench.prepare(flux_id)
    bench.trust.is_down = True
    (item,) = await bench.complete(prepared)
    assert (refusal(item), item["problem"]["status"], item["problem"]["party"]) == ("unavailable", 503, "trust list")
    (item,) = (await bench.prepare(flux_id))["items"]
    assert refusal(item) == "unavailable"
    answer = await bench.http.get("/v1/certificates")
    assert (problem_of(answer), "retry-after" in answer.headers) == ((503, "unavailable"), True)
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)
    bench.trust.is_down = False
    (item,) = await bench.complete(prepared)
    assert item["status"] == "signed"


async def test_a_document_that_is_lost_does_not_stop_the_signature_of_the_others(bench: Bench) -> None:
    lost, kept = await bench.waiting(1), await bench.waiting(2)
    prepared = await bench.prepare(lost, kept)
    document = (await bench.flux(lost)).document
    assert document is not None
    (bench.folder / "documents" / path_of(document.sha256)).unlink()
    answers = [(await bench.prepare(lost, kept))["items"], await bench.complete(prepared)]
    assert [item["status"] for items in answers for item in items] == ["refused", "prepared", "refused", "signed"]

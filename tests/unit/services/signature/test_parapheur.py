"""What signatories and those who approve ask for: rights, circuits, mandates, batches."""

from base64 import b64decode
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from services.signature.circuits import Circuit, Delegation, Step
from services.signature.parapheur import Signer
from shared.errors import RequestRefusedError, Why
from shared.facts import flux as facts
from shared.facts.collectivite import MandateEnded
from shared.facts.envelope import new_id
from shared.facts.lifecycles.flux import State
from shared.web.auth import Role
from signing.certificates import whole_name
from signing.verification import verify
from tests import examples as an
from tests.granting import delegate, say, set_circuit
from tests.parapheur import DEPUTY, DIRECTOR, MAYOR, STATED, Bench, by_flux, caller, refusal, sealed_by, values_of
from tests.pki import Holder, crl, intermediate, issue, rsa_key, signer
from tests.real.platform import COLLECTIVITE, sample
from tests.signing import NOW, verify_both

HOUR = timedelta(hours=1)
OTHER = "219900017"


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.mandate(MAYOR)
    return made


async def circuit(bench: Bench, *steps: Step) -> None:
    await set_circuit(bench.registries.history, Circuit(COLLECTIVITE, "*", steps))


async def absence(bench: Bench, absent: str, substitute: str, begin: datetime, end: datetime) -> None:
    await delegate(
        bench.registries.history,
        Delegation(new_id(), COLLECTIVITE, absent, substitute, begin, end, "Congés", recorded_at=NOW),
    )


async def end_mandate(bench: Bench, mandate_id: UUID, at: datetime, reason: str) -> None:
    await say(bench.registries.history, MandateEnded(mandate_id=mandate_id, ended_at=at, reason=reason))


# --- Signing -------------------------------------------------------------------------------------------------


async def test_a_signatory_prepares_signs_and_completes_and_the_flux_is_ready(bench: Bench) -> None:
    content = sample(1, depense_bordereaux=3)
    flux_id = await bench.waiting(content)
    prepared = by_flux(await bench.prepare([flux_id]))[flux_id]
    assert prepared["status"] == "prepared"
    assert len(prepared["elements"]) == len(prepared["bordereaux"]) == 3  # type: ignore[arg-type]
    done = (await bench.sign(flux_id))[flux_id]
    assert (done["status"], done["state"]) == ("signed", State.TO_SIGN)
    await bench.hear_all(flux_id)
    flux = await bench.flux(flux_id)
    assert flux.state is State.READY
    signed = await bench.last(flux_id)
    assert isinstance(signed, facts.FluxSigned)
    assert [one.mandate and one.mandate.person for one in signed.signatures] == [MAYOR] * 3
    assert [one.signer for one in signed.signatures] == [whole_name(signer().certificate.subject)] * 3
    assert len(verify_both(await bench.content(flux_id))) == 3


async def test_a_certificate_to_renew_soon_is_announced_when_it_signs(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    for days, is_announced in ((89, True), (91, False)):
        holder = issue("Camille", rsa_key(3), intermediate(), end=NOW + timedelta(days=days))
        said = (await bench.prepare([flux_id], holder=holder))["certificate"]
        assert isinstance(said, dict)
        assert said["is_announced"] is is_announced


async def test_the_original_is_kept_and_the_signed_one_beside_it(bench: Bench) -> None:
    content = sample(1)
    flux_id = await bench.waiting(content)
    await bench.sign(flux_id)
    assert content in bench.documents.contents.values()
    flux = await bench.flux(flux_id)
    assert flux.imported is not None
    assert flux.document != flux.imported.document


async def test_one_call_carries_many_flux_and_tells_of_each(bench: Bench) -> None:
    waiting = [await bench.waiting(sample(number)) for number in range(1, 6)]
    ready = (await bench.validated(sample(9, is_dematerialised=False))).flux_id
    unknown = new_id()
    prepared = await bench.prepare([*waiting, ready, unknown, waiting[0]])
    items = by_flux(prepared)
    assert [items[one]["status"] for one in waiting] == ["prepared"] * 5
    assert (refusal(items[ready]), refusal(items[unknown])) == ("not-waiting", "flux-not-found")
    done = await bench.complete(prepared)
    assert [done[one]["status"] for one in waiting] == ["signed"] * 5


async def test_one_wrong_value_does_not_stop_the_others(bench: Bench) -> None:
    waiting = [await bench.waiting(sample(number)) for number in range(1, 4)]
    prepared = await bench.prepare(waiting)
    made = values_of(prepared, signer())
    (element,) = made[waiting[1]]
    made[waiting[1]][element] = made[waiting[0]][next(iter(made[waiting[0]]))]
    at = datetime.fromisoformat(str(prepared["signing_time"]))
    done = by_flux(await bench.parapheur.complete(made, Signer(signer().certificate, STATED), at, caller(MAYOR)))
    assert [done[one]["status"] for one in waiting] == ["signed", "refused", "signed"]
    assert refusal(done[waiting[1]]) == "signature.value"
    assert isinstance(await bench.last(waiting[1]), facts.SignatureRequested)


async def test_completing_twice_records_once(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    for _ in range(2):
        assert (await bench.complete(prepared))[flux_id]["status"] == "signed"
    assert sum(isinstance(event.data, facts.BordereauxSigned) for event in bench.history.log) == 1


async def test_bordereaux_may_be_signed_in_two_times(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1, depense_bordereaux=2))
    prepared = await bench.prepare([flux_id])
    made = values_of(prepared, signer())[flux_id]
    at = datetime.fromisoformat(str(prepared["signing_time"]))
    for element, value in made.items():
        answer = await bench.parapheur.complete(
            {flux_id: {element: value}}, Signer(signer().certificate, STATED), at, caller(MAYOR)
        )
        assert by_flux(answer)[flux_id]["status"] == "signed"
        await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.READY
    assert len(verify(await bench.content(flux_id)).signatures) == 2


async def test_what_was_prepared_with_another_statement_does_not_verify(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    at = datetime.fromisoformat(str(prepared["signing_time"]))
    for changed, when in (
        (Signer(signer().certificate, replace(STATED, role="Préfet")), at),
        (Signer(signer().certificate, STATED), at - timedelta(seconds=1)),
    ):
        answer = await bench.parapheur.complete(values_of(prepared, signer()), changed, when, caller(MAYOR))
        assert refusal(by_flux(answer)[flux_id]) == "signature.value"


async def test_what_is_not_asked_for_is_refused(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    answer = await bench.parapheur.complete(
        {flux_id: {"AUTRE": b"x" * 256}}, Signer(signer().certificate, STATED), NOW, caller(MAYOR)
    )
    assert refusal(by_flux(answer)[flux_id]) == "not-asked"


@pytest.mark.parametrize("late", [timedelta(minutes=16), -timedelta(minutes=10)])
async def test_what_was_prepared_too_long_ago_or_not_yet_is_refused(bench: Bench, late: timedelta) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    bench.now += late
    with pytest.raises(RequestRefusedError) as refused:
        await bench.complete(prepared)
    assert refused.value.slug == "prepared-too-long-ago"


async def test_a_flux_that_changed_hands_meanwhile_is_refused(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    await bench.parapheur.refuse([flux_id], "Mandat 12 faux", caller(MAYOR))
    assert refusal((await bench.complete(prepared))[flux_id]) == "not-waiting"


# --- Mandates ------------------------------------------------------------------------------------------------


async def test_without_a_mandate_nothing_is_prepared(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    answer = by_flux(await bench.prepare([flux_id], who=caller(DEPUTY)))
    assert refusal(answer[flux_id]) == "mandate.none"


async def test_a_mandate_that_ended_between_the_two_requests_is_refused_at_the_second(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    (mandate,) = await bench.registries.mandates(COLLECTIVITE)
    await end_mandate(bench, mandate.mandate_id, NOW + timedelta(minutes=1), "Démission")
    bench.now += timedelta(minutes=2)
    assert refusal((await bench.complete(prepared))[flux_id]) == "mandate.ended"
    assert isinstance(await bench.last(flux_id), facts.SignatureRequested)


async def test_a_mandate_that_ended_in_this_very_second_is_refused_at_the_first(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    (mandate,) = await bench.registries.mandates(COLLECTIVITE)
    await end_mandate(bench, mandate.mandate_id, NOW, "Démission")
    assert NOW.microsecond
    assert refusal(by_flux(await bench.prepare([flux_id]))[flux_id]) == "mandate.ended"


async def test_a_new_mandate_does_not_cover_a_date_before_it(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    (mandate,) = await bench.registries.mandates(COLLECTIVITE)
    await end_mandate(bench, mandate.mandate_id, NOW + timedelta(minutes=1), "Réélection")
    await bench.mandate(MAYOR, valid_from=NOW + timedelta(minutes=1))
    bench.now += timedelta(minutes=2)
    assert refusal((await bench.complete(prepared))[flux_id]) == "mandate.ended"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"valid_until": NOW - HOUR}, "mandate.ended"),
        ({"valid_from": NOW + HOUR}, "mandate.not-yet"),
        ({"certificate_sha256": "0" * 64}, "mandate.other-certificate"),
        ({"collectivite": OTHER}, "mandate.none"),
    ],
)
async def test_a_mandate_holds_for_its_dates_its_certificate_and_its_collectivite(
    changes: dict[str, object], code: str
) -> None:
    bench = Bench()
    await bench.mandate(MAYOR, **changes)
    flux_id = await bench.waiting(sample(1))
    assert refusal(by_flux(await bench.prepare([flux_id]))[flux_id]) == code


async def test_the_mandate_is_written_in_the_fact(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    await bench.sign(flux_id)
    fact = await bench.last(flux_id)
    assert isinstance(fact, facts.BordereauxSigned)
    (mandate,) = await bench.registries.mandates(COLLECTIVITE)
    held = fact.signatures[0].mandate
    assert held is not None
    assert (held.mandate_id, held.act, held.valid_until) == (mandate.mandate_id, mandate.act, mandate.valid_until)


# --- Rights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.GESTIONNAIRE, Role.ADMINISTRATEUR, Role.AUDITEUR, Role.OPERATOR])
async def test_only_a_signatory_signs(bench: Bench, role: Role) -> None:
    flux_id = await bench.waiting(sample(1))
    with pytest.raises(RequestRefusedError) as refused:
        await bench.prepare([flux_id], who=caller(MAYOR, role))
    assert refused.value.why is Why.NOT_ALLOWED


@pytest.mark.parametrize("role", [Role.AUDITEUR, Role.OPERATOR])
async def test_those_who_only_look_approve_nothing(bench: Bench, role: Role) -> None:
    flux_id = await bench.waiting(sample(1))
    for asked in (bench.parapheur.give_visa, bench.parapheur.refuse):
        with pytest.raises(RequestRefusedError) as refused:
            await asked([flux_id], "Motif", caller(DIRECTOR, role))
        assert refused.value.why is Why.NOT_ALLOWED


async def test_a_gestionnaire_neither_signs_nor_refuses_to(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    answer = by_flux(await bench.parapheur.refuse([flux_id], "Pour voir", caller("amina", Role.GESTIONNAIRE)))
    assert refusal(answer[flux_id]) == "not-yours"
    answer = by_flux(await bench.parapheur.refuse([flux_id], "Le mandat 12 est faux", caller(MAYOR)))
    assert answer[flux_id]["status"] == "declined"


async def test_a_lost_document_is_told_in_its_place_and_stops_no_other(bench: Bench) -> None:
    first, second = [await bench.waiting(sample(number)) for number in (1, 2)]
    flux = await bench.flux(first)
    assert flux.document is not None
    del bench.documents.contents[flux.document.sha256]
    items = by_flux(await bench.prepare([first, second]))
    assert refusal(items[first]) == "document-lost"
    assert items[second]["status"] == "prepared"


async def test_what_is_prepared_tells_the_bordereaux_of_the_step_only(bench: Bench) -> None:
    await circuit(bench, Step("signature", (MAYOR,), "depense"), Step("signature", (DEPUTY,), "recette"))
    flux_id = await bench.waiting(sample(1, depense_bordereaux=1, recette_bordereaux=2))
    item = by_flux(await bench.prepare([flux_id]))[flux_id]
    assert [one["domain"] for one in item["bordereaux"]] == ["depense"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("holder", [issue("Faible", rsa_key(0, 1024), intermediate())])
async def test_a_weak_key_is_refused_before_anything_is_signed(bench: Bench, holder: Holder) -> None:
    flux_id = await bench.waiting(sample(1))
    assert refusal(by_flux(await bench.prepare([flux_id], holder=holder))[flux_id]) == "signature.key"


async def test_a_flux_of_another_collectivite_is_not_found(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    stranger = caller(MAYOR, Role.SIGNATAIRE, OTHER)
    assert refusal(by_flux(await bench.prepare([flux_id], who=stranger))[flux_id]) == "flux-not-found"
    assert (await bench.parapheur.pending(stranger))["flux"] == []
    with pytest.raises(RequestRefusedError) as refused:
        await bench.parapheur.circuit(flux_id, stranger)
    assert refused.value.why is Why.NOT_FOUND


async def test_a_certificate_that_nobody_trusts_is_refused_before_anything_is_signed(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    unknown = issue("Inconnu", rsa_key(9))
    expired = issue("Expiré", rsa_key(3), intermediate(), end=NOW - HOUR)
    assert refusal(by_flux(await bench.prepare([flux_id], holder=unknown))[flux_id]) == "signature.chain"
    assert refusal(by_flux(await bench.prepare([flux_id], holder=expired))[flux_id]) == "signature.validity"


async def test_a_certificate_revoked_between_the_two_requests_is_refused(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    prepared = await bench.prepare([flux_id])
    revoking = crl(intermediate(), [(signer(), NOW - HOUR, None)])
    bench.trust.list = replace(bench.trust.list, crls=(*bench.trust.list.crls, revoking))
    assert refusal((await bench.complete(prepared))[flux_id]) == "signature.revocation"


# --- Circuits ------------------------------------------------------------------------------------------------


async def test_the_steps_are_taken_in_order_by_those_they_name(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR, "karim")), Step("signature", (MAYOR,)))
    flux_id = await bench.waiting(sample(1))
    assert refusal(by_flux(await bench.prepare([flux_id]))[flux_id]) == "not-yours"
    given = by_flux(await bench.parapheur.give_visa([flux_id], "", caller("inconnue")))
    assert refusal(given[flux_id]) == "not-yours"
    given = by_flux(await bench.parapheur.give_visa([flux_id], "Vu", caller("karim", Role.GESTIONNAIRE)))
    assert given[flux_id]["status"] == "visa"
    assert (await bench.last(flux_id)) == facts.VisaGiven(step=1, comment="Vu")
    await bench.hear_all(flux_id)
    again = by_flux(await bench.parapheur.give_visa([flux_id], "", caller(DIRECTOR)))
    assert refusal(again[flux_id]) == "not-yours"  # any one of them is enough, and it was given
    await bench.sign(flux_id)
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.READY


async def test_a_visa_may_come_after_the_signature(bench: Bench) -> None:
    await circuit(bench, Step("signature"), Step("visa", (DIRECTOR,)))
    flux_id = await bench.waiting(sample(1))
    await bench.sign(flux_id)
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.TO_SIGN
    await bench.parapheur.give_visa([flux_id], "", caller(DIRECTOR))
    await bench.hear_all(flux_id)
    assert isinstance(await bench.last(flux_id), facts.FluxSigned)


async def test_two_signatories_sign_each_their_domain(bench: Bench) -> None:
    await bench.mandate(DEPUTY)
    await circuit(bench, Step("signature", (MAYOR,), "depense"), Step("signature", (DEPUTY,), "recette"))
    flux_id = await bench.waiting(sample(1, depense_bordereaux=1, recette_bordereaux=2))
    other = issue("Adjointe", rsa_key(7), intermediate())
    first = (await bench.sign(flux_id))[flux_id]
    second = (await bench.sign(flux_id, who=caller(DEPUTY), holder=other))[flux_id]
    assert [len(done["elements"]) for done in (first, second)] == [1, 2]  # type: ignore[arg-type]
    await bench.hear_all(flux_id)
    signed = await bench.last(flux_id)
    assert isinstance(signed, facts.FluxSigned)
    assert [one.mandate.person for one in signed.signatures if one.mandate] == [MAYOR, DEPUTY, DEPUTY]


async def test_a_visa_does_not_pass_for_a_signature(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    assert refusal(by_flux(await bench.parapheur.give_visa([flux_id], "", caller(MAYOR)))[flux_id]) == "not-yours"


async def test_someone_absent_is_replaced_for_the_dates_of_the_delegation(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR,)), Step("signature", (MAYOR,)))
    flux_id = await bench.waiting(sample(1))
    await absence(bench, DIRECTOR, "karim", NOW - HOUR, NOW + HOUR)
    bench.now = NOW + HOUR
    assert refusal(by_flux(await bench.parapheur.give_visa([flux_id], "", caller("karim")))[flux_id]) == "not-yours"
    bench.now = NOW
    await bench.parapheur.give_visa([flux_id], "", caller("karim"))
    assert (await bench.last(flux_id)) == facts.VisaGiven(step=1, on_behalf_of=DIRECTOR)


async def test_a_substitute_signs_only_with_a_mandate_of_their_own(bench: Bench) -> None:
    await circuit(bench, Step("signature", (MAYOR,)))
    flux_id = await bench.waiting(sample(1))
    await absence(bench, MAYOR, DEPUTY, NOW - HOUR, NOW + HOUR)
    answer = by_flux(await bench.prepare([flux_id], who=caller(DEPUTY)))
    assert refusal(answer[flux_id]) == "mandate.none"
    await bench.mandate(DEPUTY, act="Arrêté de délégation")
    await bench.sign(flux_id, who=caller(DEPUTY))
    fact = await bench.last(flux_id)
    assert isinstance(fact, facts.BordereauxSigned)
    assert fact.on_behalf_of == MAYOR
    assert [one.mandate.act for one in fact.signatures if one.mandate] == ["Arrêté de délégation"]


async def test_a_batch_of_visas_tells_of_each_and_goes_on(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR,)), Step("signature"))
    first, second = [await bench.waiting(sample(number)) for number in (1, 2)]
    await bench.parapheur.give_visa([first], "", caller(DIRECTOR))
    given = by_flux(await bench.parapheur.give_visa([first, second], "", caller(DIRECTOR)))
    assert (given[first]["status"], given[second]["status"]) == ("visa", "visa")
    assert [type(event.data) for event in await bench.history.load(first)].count(facts.VisaGiven) == 1


async def test_a_visa_that_is_asked_for_twice_takes_one_step(bench: Bench) -> None:
    await circuit(bench, Step("visa"), Step("visa"), Step("signature"))
    flux_id = await bench.waiting(sample(1))
    for _ in range(2):
        given = by_flux(await bench.parapheur.give_visa([flux_id], "", caller(DIRECTOR)))
        assert (given[flux_id]["status"], given[flux_id]["step"]) == ("visa", 1)
    once = by_flux(await bench.parapheur.give_visa([flux_id], "", caller(DIRECTOR), step=1))
    assert given == once
    second = by_flux(await bench.parapheur.give_visa([flux_id], "", caller(DIRECTOR), step=2))
    assert (second[flux_id]["status"], second[flux_id]["step"]) == ("visa", 2)
    late = by_flux(await bench.parapheur.give_visa([flux_id], "", caller("karim", Role.GESTIONNAIRE), step=1))
    assert late[flux_id]["status"] == "refused"
    assert [type(event.data) for event in await bench.history.load(flux_id)].count(facts.VisaGiven) == 2


# --- Refusing, and beginning again -----------------------------------------------------------------------------


async def test_a_refused_flux_goes_back_with_its_reason_and_may_begin_again(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR,)), Step("signature"))
    flux_id = await bench.waiting(sample(1))
    await bench.parapheur.refuse([flux_id], "Le mandat 12 est faux", caller(DIRECTOR))
    flux = await bench.flux(flux_id)
    assert (flux.state, flux.on_screen) == (State.SIGNATURE_REFUSED, "Visa refusé")
    assert (await bench.last(flux_id)) == facts.SignatureRefused(step=1, reason="Le mandat 12 est faux")
    gestionnaire = caller("amina", Role.GESTIONNAIRE)
    shown = await bench.parapheur.circuit(flux_id, gestionnaire)
    assert shown["steps"][0]["taken"][0]["reason"] == "Le mandat 12 est faux"  # type: ignore[index]
    await bench.parapheur.restart(flux_id, "Corrigé", gestionnaire)
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.TO_SIGN
    shown = await bench.parapheur.circuit(flux_id, gestionnaire)
    assert shown["steps"][0]["taken"] == []  # type: ignore[index]


async def test_a_flux_that_waited_for_a_person_is_sealed_once_the_seal_was_chosen_and_it_begins_again(
    bench: Bench,
) -> None:
    flux_id = await bench.waiting(sample(1))
    bench.seal = sealed_by(signer())
    await say(bench.registries.history, an.seal_chosen)
    await bench.parapheur.restart(flux_id, "Le cachet est choisi", caller("amina", Role.GESTIONNAIRE))
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.READY


async def test_beginning_again_drops_the_signatures_already_given(bench: Bench) -> None:
    await circuit(bench, Step("signature"), Step("visa", (DIRECTOR,)))
    content = sample(1)
    flux_id = await bench.waiting(content)
    await bench.sign(flux_id)
    await bench.hear_all(flux_id)
    await bench.parapheur.restart(flux_id, "Autre signataire", caller("amina", Role.GESTIONNAIRE))
    assert await bench.content(flux_id) == content
    assert isinstance(await bench.last(flux_id), facts.SignatureRestarted)


async def test_there_is_nothing_to_begin_again_in_a_flux_that_waits_for_nobody(bench: Bench) -> None:
    flux_id = (await bench.validated(sample(1, is_dematerialised=False))).flux_id
    with pytest.raises(RequestRefusedError) as refused:
        await bench.parapheur.restart(flux_id, "Pour voir", caller("amina", Role.GESTIONNAIRE))
    assert refused.value.slug == "nothing-to-restart"


# --- Looking ---------------------------------------------------------------------------------------------------


async def test_everyone_sees_what_waits_for_them(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR,)), Step("signature", (MAYOR,)))
    first, second = [await bench.waiting(sample(number)) for number in (1, 2)]

    async def waits_for(person: str) -> list[UUID]:
        pending = (await bench.parapheur.pending(caller(person)))["flux"]
        assert isinstance(pending, list)
        return [UUID(one["flux_id"]) for one in pending]

    assert (await waits_for(DIRECTOR), await waits_for(MAYOR)) == ([first, second], [])
    await bench.parapheur.give_visa([first], "", caller(DIRECTOR))
    assert (await waits_for(DIRECTOR), await waits_for(MAYOR)) == ([second], [first])


async def test_the_circuit_says_who_did_what_and_who_is_next(bench: Bench) -> None:
    await circuit(bench, Step("visa", (DIRECTOR,), name="Visa de la directrice"), Step("signature", (MAYOR,)))
    flux_id = await bench.waiting(sample(1))
    await bench.parapheur.give_visa([flux_id], "Vu", caller(DIRECTOR))
    shown = await bench.parapheur.circuit(flux_id, caller(MAYOR))
    steps = shown["steps"]
    assert isinstance(steps, list)
    first, second = steps
    assert (first["status"], first["name"], first["taken"][0]["by"]) == ("done", "Visa de la directrice", DIRECTOR)
    assert (second["status"], second["any_of"], second["taken"]) == ("next", [MAYOR], [])
    assert shown["is_mine"] is True
    assert (await bench.parapheur.circuit(flux_id, caller(DIRECTOR)))["is_mine"] is False


async def test_what_is_prepared_says_what_is_signed_under_which_digest(bench: Bench) -> None:
    flux_id = await bench.waiting(sample(1))
    item = by_flux(await bench.prepare([flux_id]))[flux_id]
    flux = await bench.flux(flux_id)
    assert flux.document is not None
    assert item["document"] == flux.document.model_dump()
    element = item["elements"][0]  # type: ignore[index]
    assert sha256(b64decode(element["to_sign"])).hexdigest() == element["digest"]

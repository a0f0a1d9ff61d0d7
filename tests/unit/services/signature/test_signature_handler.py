"""What the service does by itself: asks, seals, verifies, concludes."""

from datetime import UTC, datetime, timedelta

import pytest

from services.signature.circuits import Circuit, Step
from shared.errors import DocumentMissingError, MalformedMessageError, UnavailableError
from shared.facts.flux import (
    BordereauxSigned,
    FluxSigned,
    SignatureRequested,
    SignaturesRejected,
)
from shared.facts.lifecycles.flux import State, fold
from signing import xades
from signing.certificates import fingerprint
from tests import examples as an
from tests.granting import say, set_circuit
from tests.parapheur import MAYOR, STATED, Bench, HeldKey, caller, sealed_by
from tests.pki import Holder, crl, hostile_holder, intermediate, issue, rsa_key, signer
from tests.real.platform import COLLECTIVITE, sample
from tests.signing import NOW, signed_after, verify_both


@pytest.fixture
async def bench() -> Bench:
    made = Bench(seal=sealed_by(signer()))
    await say(made.registries.history, an.seal_chosen)
    return made


@pytest.fixture
def people() -> Bench:
    """There is a seal, and nobody chose it."""
    return Bench(seal=sealed_by(signer()))


def signed_elsewhere(content: bytes, holder: Holder | None = None) -> bytes:
    return xades.sign(content, key=HeldKey(holder or signer()), signing_time=NOW, stated=STATED)


# --- The seal ------------------------------------------------------------------------------------------------


async def test_with_a_seal_every_bordereau_is_signed_and_verified(bench: Bench) -> None:
    content = sample(1, depense_bordereaux=3)
    requested, sealed, signed = await bench.hear(await bench.validated(content))
    assert isinstance(requested, SignatureRequested)
    assert isinstance(sealed, BordereauxSigned)
    assert isinstance(signed, FluxSigned)
    assert [step.kind for step in requested.circuit] == ["seal"]
    assert {one.element_id for one in signed.signatures} == set(requested.elements)
    assert len(signed.signatures) == 3
    assert signed.warnings == ()
    assert {one.certificate_sha256 for one in signed.signatures} == {fingerprint(signer().certificate)}
    stored = await bench.documents.read(signed.document.sha256)
    assert len(verify_both(stored)) == 3
    assert stored != content


async def test_a_redelivery_signs_nothing_again(bench: Bench) -> None:
    event = await bench.validated(sample(1))
    await bench.hear(event)
    stored = dict(bench.documents.contents)
    assert await bench.hear(event) == []
    assert bench.documents.contents == stored


async def test_the_seal_is_for_those_who_chose_it(people: Bench) -> None:
    await say(people.registries.history, an.seal_chosen, collectivite="219900017")
    (requested,) = await people.hear(await people.validated(sample(1)))
    assert isinstance(requested, SignatureRequested)
    assert [step.kind for step in requested.circuit] == ["signature"]
    await say(people.registries.history, an.seal_chosen, collectivite="*")
    assert len(await people.hear(await people.validated(sample(2)))) == 3


async def test_the_seal_that_was_chosen_for_all_signs_for_nobody_who_left_it(people: Bench) -> None:
    await say(people.registries.history, an.seal_chosen, collectivite="*")
    await say(people.registries.history, an.seal_left)
    (requested,) = await people.hear(await people.validated(sample(1)))
    assert isinstance(requested, SignatureRequested)
    assert [step.kind for step in requested.circuit] == ["signature"]


async def test_a_seal_out_of_date_waits_and_loses_nothing(bench: Bench) -> None:
    event = await bench.validated(sample(1))
    bench.now = datetime(2099, 1, 1, tzinfo=UTC)
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    bench.now = NOW
    assert len(await bench.hear(event)) == 3


async def test_a_seal_that_nobody_trusts_waits_for_the_host_and_blames_no_flux(bench: Bench) -> None:
    bench.seal = sealed_by(issue("Cachet inconnu", rsa_key(9)))
    event = await bench.validated(sample(1))
    with pytest.raises(UnavailableError, match="Cachet inconnu"):
        await bench.hear(event)
    bench.seal = sealed_by(signer())
    assert len(await bench.hear(event)) == 3


async def test_after_the_last_visa_the_seal_signs(bench: Bench) -> None:
    await set_circuit(bench.registries.history, Circuit(COLLECTIVITE, "*", (Step("visa", ("amina",)), Step("seal"))))
    flux_id = await bench.waiting(sample(1))
    assert (await bench.flux(flux_id)).state is State.TO_SIGN
    await bench.parapheur.give_visa([flux_id], "", caller("amina"))
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.READY


async def test_a_seal_taken_away_leaves_the_flux_waiting(bench: Bench) -> None:
    await set_circuit(bench.registries.history, Circuit(COLLECTIVITE, "*", (Step("visa", ("amina",)), Step("seal"))))
    flux_id = await bench.waiting(sample(1))
    await say(bench.registries.history, an.seal_left)
    await bench.parapheur.give_visa([flux_id], "", caller("amina"))
    await bench.hear_all(flux_id)
    assert (await bench.flux(flux_id)).state is State.TO_SIGN


# --- What waits, and what is left alone ----------------------------------------------------------------------


async def test_without_a_seal_the_flux_waits_for_a_person(people: Bench) -> None:
    event = await people.validated(sample(1))
    (requested,) = await people.hear(event)
    assert isinstance(requested, SignatureRequested)
    assert fold(one.data for one in people.history.log).state is State.TO_SIGN
    assert await people.hear(event) == []


async def test_a_paper_flux_is_left_alone(bench: Bench) -> None:
    assert await bench.hear(await bench.validated(sample(1, is_dematerialised=False))) == []


async def test_a_document_that_is_lost_stops_the_service(bench: Bench) -> None:
    event = await bench.validated(sample(1))
    bench.documents.contents.clear()
    with pytest.raises(DocumentMissingError):
        await bench.hear(event)


async def test_a_cancelled_flux_is_not_signed(bench: Bench) -> None:
    event = await bench.validated(sample(1))
    await bench.history.append([event.follow(an.cancelled, actor="amina", at=NOW)], expected_version=2)
    assert await bench.hear(event) == []


async def test_the_circuit_of_the_kind_of_flux_applies_and_is_written_down(people: Bench) -> None:
    await set_circuit(people.registries.history, Circuit(COLLECTIVITE, "*", (Step("signature"),)))
    await set_circuit(
        people.registries.history,
        Circuit(
            COLLECTIVITE, "mixte", (Step("signature", ("camille",), "depense"), Step("signature", (), "recette"))
        ),
    )
    (requested,) = await people.hear(await people.validated(sample(1, depense_bordereaux=2, recette_bordereaux=1)))
    assert isinstance(requested, SignatureRequested)
    assert [(len(step.elements), step.any_of) for step in requested.circuit] == [(2, ("camille",)), (1, ())]
    await set_circuit(people.registries.history, Circuit(COLLECTIVITE, "mixte", (Step("signature", ("autre",)),)))
    assert fold(one.data for one in people.history.log).circuit == requested.circuit


async def test_a_step_that_would_sign_nothing_is_left_out(people: Bench) -> None:
    steps = (Step("signature", (), "depense"), Step("signature", (), "recette"))
    await set_circuit(people.registries.history, Circuit(COLLECTIVITE, "*", steps))
    (requested,) = await people.hear(await people.validated(sample(1)))
    assert isinstance(requested, SignatureRequested)
    assert len(requested.circuit) == 1


async def test_a_flux_signed_as_a_whole_is_signed_at_the_last_signing_step(people: Bench) -> None:
    steps = (Step("signature", (), "depense"), Step("visa"), Step("signature", (), "recette"), Step("visa"))
    await set_circuit(people.registries.history, Circuit(COLLECTIVITE, "*", steps))
    (requested,) = await people.hear(await people.validated(sample(1, has_bordereau_ids=False)))
    assert isinstance(requested, SignatureRequested)
    assert [step.kind for step in requested.circuit] == ["visa", "signature", "visa"]


# --- What comes signed ---------------------------------------------------------------------------------------


async def test_a_flux_that_comes_signed_is_verified_and_kept_as_it_is(people: Bench) -> None:
    content = signed_elsewhere(sample(1))
    (signed,) = await people.hear(await people.validated(content))
    assert isinstance(signed, FluxSigned)
    assert await people.documents.read(signed.document.sha256) == content
    assert [one.code for one in signed.warnings] == ["signature.mandate"]  # nobody keeps mandates here


async def test_a_flux_that_comes_signed_still_needs_the_visas_of_its_circuit(people: Bench) -> None:
    await set_circuit(
        people.registries.history, Circuit(COLLECTIVITE, "*", (Step("visa", ("amina",)), Step("signature")))
    )
    content = signed_elsewhere(sample(1))
    flux_id = await people.waiting(content)
    flux = await people.flux(flux_id)
    assert (flux.state, [step.kind for step in flux.circuit]) == (State.TO_SIGN, ["visa"])
    await people.parapheur.give_visa([flux_id], "", caller("amina"))
    await people.hear_all(flux_id)
    signed = await people.last(flux_id)
    assert isinstance(signed, FluxSigned)
    assert await people.documents.read(signed.document.sha256) == content


async def test_where_mandates_are_kept_a_certificate_that_none_names_is_refused(people: Bench) -> None:
    await people.mandate(MAYOR)
    (rejected,) = await people.hear(await people.validated(signed_elsewhere(sample(1))))
    assert isinstance(rejected, SignaturesRejected)
    (finding,) = rejected.findings
    assert (finding.code, finding.severity) == ("signature.mandate", "blocking")
    assert "Signataire d'essai" in finding.message


async def test_the_mandate_that_names_the_certificate_is_recorded_with_the_signature(people: Bench) -> None:
    mandate = await people.mandate(MAYOR, certificate_sha256=fingerprint(signer().certificate))
    (signed,) = await people.hear(await people.validated(signed_elsewhere(sample(1))))
    assert isinstance(signed, FluxSigned)
    held = signed.signatures[0].mandate
    assert held is not None
    assert (held.mandate_id, held.act, held.person) == (mandate.mandate_id, mandate.act, MAYOR)
    assert signed.warnings == ()


async def test_a_mandate_that_had_ended_does_not_cover_what_was_signed_elsewhere(people: Bench) -> None:
    ended = NOW - timedelta(hours=1)
    await people.mandate(MAYOR, certificate_sha256=fingerprint(signer().certificate), valid_until=ended)
    (rejected,) = await people.hear(await people.validated(signed_elsewhere(sample(1))))
    assert isinstance(rejected, SignaturesRejected)


async def test_only_what_is_missing_is_signed(bench: Bench) -> None:
    content = signed_elsewhere(sample(1, depense_bordereaux=2))
    start = content.index(b"<ds:Signature", content.index(b"</ds:Signature>"))
    end = content.index(b"</ds:Signature>", start) + len(b"</ds:Signature>")
    requested, _, signed = await bench.hear(await bench.validated(content[:start] + content[end:]))
    assert isinstance(requested, SignatureRequested)
    assert isinstance(signed, FluxSigned)
    assert (len(requested.elements), len(signed.signatures)) == (1, 2)


async def test_a_flux_with_one_wrong_signature_is_refused_before_the_others_are_asked_for(people: Bench) -> None:
    content = signed_elsewhere(sample(1, depense_bordereaux=2))
    start = content.index(b"<ds:Signature", content.index(b"</ds:Signature>"))
    end = content.index(b"</ds:Signature>", start) + len(b"</ds:Signature>")
    place = content.index(b"<Piece>")
    changed = content[:place] + b" " + content[place:start] + content[end:]
    (rejected,) = await people.hear(await people.validated(changed))
    assert isinstance(rejected, SignaturesRejected)
    assert [one.code for one in rejected.findings] == ["signature.content"]


async def test_a_signature_that_does_not_hold_is_refused_with_its_reason(people: Bench) -> None:
    content = signed_elsewhere(sample(1))
    place = content.index(b"<Piece>")
    changed = content[:place] + b" " + content[place:]
    (rejected,) = await people.hear(await people.validated(changed))
    assert isinstance(rejected, SignaturesRejected)
    codes = [(finding.code, finding.severity) for finding in rejected.findings]
    assert codes == [("signature.content", "blocking")]
    assert rejected.findings[0].message.endswith(".")
    assert fold(one.data for one in people.history.log).state is State.INVALID


async def test_a_certificate_revoked_meanwhile_stops_what_was_about_to_leave(people: Bench) -> None:
    await people.mandate(MAYOR)
    await set_circuit(
        people.registries.history, Circuit(COLLECTIVITE, "*", (Step("signature"), Step("visa", ("amina",))))
    )
    flux_id = await people.waiting(sample(1))
    await people.sign(flux_id)
    revoking = crl(intermediate(), [(signer(), NOW - timedelta(hours=1), None)])
    people.trust.list = type(people.trust.list)(people.trust.list.authorities, (*people.trust.list.crls, revoking))
    await people.parapheur.give_visa([flux_id], "", caller("amina"))
    await people.hear_all(flux_id)
    rejected = await people.last(flux_id)
    assert isinstance(rejected, SignaturesRejected)
    assert [one.code for one in rejected.findings] == ["signature.revocation"]


async def test_a_mandate_that_ended_before_the_file_came_does_not_cover_an_earlier_date(people: Bench) -> None:
    ended = NOW + timedelta(days=1)
    await people.mandate(MAYOR, certificate_sha256=fingerprint(signer().certificate), valid_until=ended)
    people.now = NOW + timedelta(days=2)
    (rejected,) = await people.hear(await people.validated(signed_elsewhere(sample(1))))
    assert isinstance(rejected, SignaturesRejected)
    assert [one.code for one in rejected.findings] == ["signature.mandate"]


async def test_a_hostile_certificate_is_a_finding_and_the_service_goes_on(people: Bench) -> None:
    who = hostile_holder()
    content = signed_after(str, sample(1), certificate=who.certificate, key=who.key)
    (rejected,) = await people.hear(await people.validated(content))
    assert isinstance(rejected, SignaturesRejected)
    assert [one.code for one in rejected.findings] == ["signature.certificate"]


# --- Two programs --------------------------------------------------------------------------------------------


async def test_when_the_two_programs_disagree_nothing_is_recorded_as_signed(
    people: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing that cannot be had for real: signxml refusing what is good."""
    monkeypatch.setattr("signxml.verifier.XMLVerifier.verify", _refuse)
    event = await people.validated(signed_elsewhere(sample(1)))
    with pytest.raises(MalformedMessageError):
        await people.hear(event)
    assert len(people.history.log) == 2


def _refuse(*_: object, **__: object) -> None:
    raise ValueError("signxml says no")

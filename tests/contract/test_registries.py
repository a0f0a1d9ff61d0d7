"""The registries of `signature`: the same promises by the stand-in in memory and by PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.signature.adapters.registries import PostgresRegistries
from services.signature.circuits import Circuit, Delegation, FluxKind, Step, StepKind
from services.signature.mandates import Mandate
from services.signature.registries import EVERYONE, NamedCertificate, Registries
from shared.facts.envelope import new_id
from shared.journal.postgres import Database
from tests.callers import COMMUNE, OTHER_COMMUNE
from tests.conftest import TestDatabase
from tests.fakes.memory_registries import MemoryRegistries

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BOTH: tuple[Step, ...] = (Step("visa", ("amina", "karim"), name="Visa des finances"), Step("signature", ("camille",)))


@pytest.fixture(params=["memory", "postgres"])
async def registries(request: pytest.FixtureRequest) -> AsyncIterator[Registries]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryRegistries()
            return
        test_database: TestDatabase = request.getfixturevalue("test_database")
        dsn = test_database.dsn("heliotrope_signature")
        yield PostgresRegistries(await stack.enter_async_context(Database(dsn)))


def mandate(
    collectivite: str = COMMUNE, *, until: datetime | None = None, sha256: str = "", expires: datetime | None = None
) -> Mandate:
    return Mandate(
        new_id(),
        collectivite,
        "camille",
        "Camille Exemple, maire",
        "Délibération n° 2026-12",
        NOW - DAY,
        until,
        sha256,
        expires,
        "amina",
        NOW,
    )


def delegation(collectivite: str = COMMUNE) -> Delegation:
    return Delegation(new_id(), collectivite, "camille", "karim", NOW, NOW + 9 * DAY, "congés", "camille", NOW)


def circuit(
    collectivite: str = COMMUNE, kind: FluxKind = EVERYONE, steps: tuple[Step, ...] = BOTH, reason: str = "règle"
) -> Circuit:
    return Circuit(collectivite, kind, steps, reason, "amina", NOW)


def only(kind: StepKind, person: str = "") -> tuple[Step, ...]:
    return (Step(kind, (person,) if person else ()),)


# --- Mandates ----------------------------------------------------------------------------------------------------


async def test_a_mandate_is_read_back_as_it_was_recorded(registries: Registries) -> None:
    recorded = mandate(until=NOW + DAY, sha256="a" * 64, expires=NOW + 100 * DAY)
    assert await registries.record_mandate(recorded, "-----BEGIN CERTIFICATE-----")
    assert await registries.mandates(COMMUNE) == [recorded]
    assert await registries.mandate(recorded.mandate_id) == recorded


async def test_a_mandate_of_another_collectivite_is_not_among_ours(registries: Registries) -> None:
    other = mandate(OTHER_COMMUNE)
    await registries.record_mandate(other, "")
    assert await registries.mandates(COMMUNE) == []
    assert await registries.mandates(OTHER_COMMUNE) == [other]


async def test_an_unknown_mandate_is_none_and_cannot_be_ended(registries: Registries) -> None:
    assert await registries.mandate(new_id()) is None
    assert not await registries.end_mandate(new_id(), NOW, "fin", "amina")


async def test_a_mandate_is_recorded_once_and_never_changes(registries: Registries) -> None:
    first = mandate()
    assert await registries.record_mandate(first, "")
    assert not await registries.record_mandate(replace(first, person="karim"), "")
    assert await registries.mandates(COMMUNE) == [first]


async def test_mandates_come_in_the_order_they_were_recorded(registries: Registries) -> None:
    late, early = replace(mandate(), recorded_at=NOW + DAY), mandate()
    for one in (late, early):
        await registries.record_mandate(one, "")
    assert await registries.mandates(COMMUNE) == [early, late]


async def test_an_ended_mandate_no_longer_holds(registries: Registries) -> None:
    recorded = mandate()
    await registries.record_mandate(recorded, "")
    assert await registries.end_mandate(recorded.mandate_id, NOW, "démission", "amina")
    (ended,) = await registries.mandates(COMMUNE)
    assert ended == replace(recorded, ended_at=NOW, ended_because="démission")
    assert ended == await registries.mandate(recorded.mandate_id)
    assert ended.holds(NOW - timedelta(microseconds=1))
    assert not ended.holds(NOW)


async def test_of_several_ends_the_earliest_counts_whichever_came_first(registries: Registries) -> None:
    recorded = mandate()
    await registries.record_mandate(recorded, "")
    for at, reason in ((NOW + DAY, "tard"), (NOW - DAY, "tôt"), (NOW - DAY, "redite"), (NOW, "entre")):
        assert await registries.end_mandate(recorded.mandate_id, at, reason, "amina")
    assert await registries.mandates(COMMUNE) == [replace(recorded, ended_at=NOW - DAY, ended_because="tôt")]


async def test_why_an_operator_recorded_a_mandate_is_kept(registries: Registries) -> None:
    own, by_operator, elsewhere = mandate(), mandate(), mandate(OTHER_COMMUNE)
    await registries.record_mandate(own, "")
    await registries.record_mandate(by_operator, "", "l'administratrice est absente")
    await registries.record_mandate(elsewhere, "", "ailleurs")
    assert await registries.mandate_reasons(COMMUNE) == {by_operator.mandate_id: "l'administratrice est absente"}


async def test_the_certificates_that_are_named_come_with_the_first_to_expire_first(registries: Registries) -> None:
    late, soon = (
        mandate(COMMUNE, sha256="b" * 64, expires=NOW + 9 * DAY),
        mandate(OTHER_COMMUNE, sha256="a" * 64, expires=NOW + DAY),
    )
    for one in (late, soon, mandate()):
        await registries.record_mandate(one, "pem")
    assert await registries.certificates(NOW) == [
        NamedCertificate(OTHER_COMMUNE, soon.name, "a" * 64, NOW + DAY),
        NamedCertificate(COMMUNE, late.name, "b" * 64, NOW + 9 * DAY),
    ]


async def test_the_certificate_of_a_mandate_that_has_ended_is_nobody_s_concern(registries: Registries) -> None:
    foreseen = mandate(until=NOW, sha256="a" * 64, expires=NOW + DAY)
    early = mandate(sha256="b" * 64, expires=NOW + DAY)
    for one in (foreseen, early):
        await registries.record_mandate(one, "pem")
    await registries.end_mandate(early.mandate_id, NOW, "démission", "amina")
    assert len(await registries.certificates(NOW - timedelta(microseconds=1))) == 2
    assert await registries.certificates(NOW) == []


# --- Circuits ----------------------------------------------------------------------------------------------------


async def test_a_circuit_is_read_back_as_it_was_set(registries: Registries) -> None:
    await registries.set_circuit(circuit())
    assert await registries.circuits(COMMUNE) == [circuit()]
    assert await registries.circuits(OTHER_COMMUNE) == []


async def test_without_any_circuit_there_is_none(registries: Registries) -> None:
    assert await registries.circuits(COMMUNE) == []
    assert await registries.circuit_changes(COMMUNE) == []


async def test_the_last_circuit_set_counts(registries: Registries) -> None:
    await registries.set_circuit(circuit(reason="d'abord"))
    await registries.set_circuit(circuit(steps=only("signature"), reason="ensuite"))
    assert await registries.circuits(COMMUNE) == [circuit(steps=only("signature"), reason="ensuite")]
    assert [one.reason for one in await registries.circuit_changes(COMMUNE)] == ["ensuite", "d'abord"]


async def test_a_circuit_of_one_s_own_comes_before_that_of_all(registries: Registries) -> None:
    await registries.set_circuit(circuit(kind="depense"))
    for kind in ("depense", "recette"):
        await registries.set_circuit(circuit(EVERYONE, kind, only("signature")))
    assert await registries.circuits(COMMUNE) == [
        circuit(kind="depense"),
        circuit(EVERYONE, "recette", only("signature")),
    ]
    assert len(await registries.circuits(OTHER_COMMUNE)) == 2


async def test_a_circuit_of_one_s_own_for_every_flux_leaves_none_of_those_of_all(registries: Registries) -> None:
    await registries.set_circuit(circuit())
    await registries.set_circuit(circuit(EVERYONE, "depense", only("signature")))
    assert await registries.circuits(COMMUNE) == [circuit()]


async def test_a_circuit_without_steps_gives_way_to_that_of_all(registries: Registries) -> None:
    await registries.set_circuit(circuit(EVERYONE, steps=only("signature")))
    await registries.set_circuit(circuit())
    await registries.set_circuit(circuit(steps=()))
    assert await registries.circuits(COMMUNE) == [circuit(EVERYONE, steps=only("signature"))]
    await registries.set_circuit(circuit(EVERYONE, steps=()))
    assert await registries.circuits(COMMUNE) == []


async def test_changes_are_those_of_a_collectivite_and_of_all_the_last_first(registries: Registries) -> None:
    for collectivite in (COMMUNE, OTHER_COMMUNE, EVERYONE):
        await registries.set_circuit(circuit(collectivite))
    assert [one.collectivite for one in await registries.circuit_changes(COMMUNE)] == [EVERYONE, COMMUNE]


# --- Delegations -------------------------------------------------------------------------------------------------


async def test_a_delegation_is_read_back_as_it_was_recorded(registries: Registries) -> None:
    recorded = delegation()
    assert await registries.record_delegation(recorded)
    assert await registries.delegations(COMMUNE) == [recorded]
    assert await registries.delegation(recorded.delegation_id) == recorded
    assert await registries.delegations(OTHER_COMMUNE) == []


async def test_an_unknown_delegation_is_none_and_cannot_be_ended(registries: Registries) -> None:
    assert await registries.delegation(new_id()) is None
    assert not await registries.end_delegation(new_id(), NOW, "retour", "amina")


async def test_a_delegation_is_recorded_once_and_never_changes(registries: Registries) -> None:
    first = delegation()
    assert await registries.record_delegation(first)
    assert not await registries.record_delegation(replace(first, substitute="amina"))
    assert await registries.delegations(COMMUNE) == [first]


async def test_of_several_ends_of_a_delegation_the_earliest_counts(registries: Registries) -> None:
    recorded = delegation()
    await registries.record_delegation(recorded)
    for days in (3, 1, 2):
        assert await registries.end_delegation(recorded.delegation_id, NOW + days * DAY, "retour", "camille")
    (ended,) = await registries.delegations(COMMUNE)
    assert ended == replace(recorded, ended_at=NOW + DAY)
    assert not ended.holds(NOW + DAY)

"""The registries of `signature`: the same from the same facts, by the stand-in in memory and by PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from services.signature.adapters.registries import PostgresRegistries
from services.signature.circuits import Circuit, Delegation, SealChoice, Step
from services.signature.mandates import Mandate, NamedCertificate
from services.signature.ports import Registries
from shared.errors import NameTakenError
from shared.facts.collectivite import DelegationEnded, FluxKind, MandateEnded
from shared.facts.envelope import new_id
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import StepKind
from shared.journal.history import History, PostgresHistory
from shared.journal.postgres import Database
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE
from tests.conftest import TestDatabase
from tests.fakes.memory_history import MemoryHistory
from tests.fakes.memory_registries import MemoryRegistries
from tests.granting import delegate, grant, say, set_circuit

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BOTH: tuple[Step, ...] = (Step("visa", ("amina", "karim"), name="Visa des finances"), Step("signature", ("camille",)))


@dataclass(frozen=True)
class Bench:
    """The registries, and the journal that they follow from."""

    history: History
    registries: Registries

    async def end_mandate(self, mandate: Mandate, at: datetime, reason: str = "démission") -> None:
        await say(self.history, MandateEnded(mandate_id=mandate.mandate_id, ended_at=at, reason=reason))

    async def end_delegation(self, delegation: Delegation, at: datetime) -> None:
        await say(self.history, DelegationEnded(delegation_id=delegation.delegation_id, ended_at=at, reason="fin"))


@pytest.fixture(params=["memory", "postgres"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            history = MemoryHistory()
            yield Bench(history, MemoryRegistries(history))
            return
        test_database: TestDatabase = request.getfixturevalue("test_database")
        database = await stack.enter_async_context(Database(test_database.dsn_of("signature")))
        yield Bench(PostgresHistory(database), PostgresRegistries(database))


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
        recorded_by="amina",
        recorded_at=NOW,
    )


def delegation(collectivite: str = COMMUNE) -> Delegation:
    return Delegation(new_id(), collectivite, "camille", "karim", NOW, NOW + 9 * DAY, "congés", "camille", NOW)


def circuit(
    collectivite: str = COMMUNE,
    kind: FluxKind = EVERY_COLLECTIVITE,
    steps: tuple[Step, ...] = BOTH,
    reason: str = "règle",
) -> Circuit:
    return Circuit(collectivite, kind, steps, reason, "amina", NOW)


def only(kind: StepKind, person: str = "") -> tuple[Step, ...]:
    return (Step(kind, (person,) if person else ()),)


# --- Mandates ----------------------------------------------------------------------------------------------------


async def test_a_mandate_is_read_back_as_it_was_recorded(bench: Bench) -> None:
    recorded = mandate(until=NOW + DAY, sha256="a" * 64, expires=NOW + 100 * DAY)
    await grant(bench.history, recorded)
    assert await bench.registries.mandates(COMMUNE) == [recorded]
    assert await bench.registries.mandate(recorded.mandate_id) == recorded


async def test_a_mandate_of_another_collectivite_is_not_among_ours(bench: Bench) -> None:
    other = mandate(OTHER_COMMUNE)
    await grant(bench.history, other)
    assert await bench.registries.mandates(COMMUNE) == []
    assert await bench.registries.mandates(OTHER_COMMUNE) == [other]


async def test_an_unknown_mandate_is_none(bench: Bench) -> None:
    assert await bench.registries.mandate(new_id()) is None


async def test_no_other_collectivite_records_a_mandate_under_the_same_id(bench: Bench) -> None:
    first = mandate()
    await grant(bench.history, first)
    with pytest.raises(NameTakenError):
        await grant(bench.history, replace(first, collectivite=OTHER_COMMUNE))
    assert await bench.registries.mandates(OTHER_COMMUNE) == []
    assert await bench.registries.mandates(COMMUNE) == [first]


async def test_mandates_come_in_the_order_they_were_recorded(bench: Bench) -> None:
    late, early = replace(mandate(), recorded_at=NOW + DAY), mandate()
    for one in (late, early):
        await grant(bench.history, one)
    assert await bench.registries.mandates(COMMUNE) == [early, late]


async def test_an_ended_mandate_no_longer_holds(bench: Bench) -> None:
    recorded = mandate()
    await grant(bench.history, recorded)
    await bench.end_mandate(recorded, NOW)
    (ended,) = await bench.registries.mandates(COMMUNE)
    assert ended == replace(recorded, ended_at=NOW, ended_because="démission")
    assert ended == await bench.registries.mandate(recorded.mandate_id)
    assert ended.holds(NOW - timedelta(microseconds=1))
    assert not ended.holds(NOW)


async def test_of_several_ends_the_earliest_counts_whichever_came_first(bench: Bench) -> None:
    recorded = mandate()
    await grant(bench.history, recorded)
    for at, reason in ((NOW + DAY, "tard"), (NOW - DAY, "tôt"), (NOW - DAY, "redite"), (NOW, "entre")):
        await bench.end_mandate(recorded, at, reason)
    assert await bench.registries.mandates(COMMUNE) == [replace(recorded, ended_at=NOW - DAY, ended_because="tôt")]


async def test_why_an_operator_recorded_a_mandate_is_kept(bench: Bench) -> None:
    own, by_operator = mandate(), replace(mandate(), reason="l’administratrice est absente")
    for one in (own, by_operator):
        await grant(bench.history, one)
    assert [one.reason for one in await bench.registries.mandates(COMMUNE)] == ["", "l’administratrice est absente"]


async def test_the_certificates_that_are_named_come_with_the_first_to_expire_first(bench: Bench) -> None:
    late, soon = (
        mandate(COMMUNE, sha256="b" * 64, expires=NOW + 9 * DAY),
        mandate(OTHER_COMMUNE, sha256="a" * 64, expires=NOW + DAY),
    )
    for one in (late, soon, mandate()):
        await grant(bench.history, one)
    assert await bench.registries.certificates(NOW) == [
        NamedCertificate(OTHER_COMMUNE, soon.name, "a" * 64, NOW + DAY),
        NamedCertificate(COMMUNE, late.name, "b" * 64, NOW + 9 * DAY),
    ]


async def test_the_certificate_of_a_mandate_that_has_ended_is_nobody_s_concern(bench: Bench) -> None:
    foreseen = mandate(until=NOW, sha256="a" * 64, expires=NOW + DAY)
    early = mandate(sha256="b" * 64, expires=NOW + DAY)
    for one in (foreseen, early):
        await grant(bench.history, one)
    await bench.end_mandate(early, NOW)
    assert len(await bench.registries.certificates(NOW - timedelta(microseconds=1))) == 2
    assert await bench.registries.certificates(NOW) == []


# --- Circuits ----------------------------------------------------------------------------------------------------


async def test_a_circuit_is_read_back_as_it_was_set(bench: Bench) -> None:
    await set_circuit(bench.history, circuit())
    assert await bench.registries.circuits(COMMUNE) == [circuit()]
    assert await bench.registries.circuits(OTHER_COMMUNE) == []


async def test_without_any_circuit_there_is_none(bench: Bench) -> None:
    assert await bench.registries.circuits(COMMUNE) == []
    assert await bench.registries.circuit_changes(COMMUNE) == []


async def test_the_last_circuit_set_counts(bench: Bench) -> None:
    await set_circuit(bench.history, circuit(reason="d’abord"))
    await set_circuit(bench.history, circuit(steps=only("signature"), reason="ensuite"))
    assert await bench.registries.circuits(COMMUNE) == [circuit(steps=only("signature"), reason="ensuite")]
    assert [one.reason for one in await bench.registries.circuit_changes(COMMUNE)] == ["ensuite", "d’abord"]


async def test_a_circuit_of_one_s_own_comes_before_that_of_all(bench: Bench) -> None:
    await set_circuit(bench.history, circuit(kind="depense"))
    for kind in ("depense", "recette"):
        await set_circuit(bench.history, circuit(EVERY_COLLECTIVITE, kind, only("signature")))
    assert await bench.registries.circuits(COMMUNE) == [
        circuit(kind="depense"),
        circuit(EVERY_COLLECTIVITE, "recette", only("signature")),
    ]
    assert len(await bench.registries.circuits(OTHER_COMMUNE)) == 2


async def test_a_circuit_of_one_s_own_for_every_flux_leaves_none_of_those_of_all(bench: Bench) -> None:
    await set_circuit(bench.history, circuit())
    await set_circuit(bench.history, circuit(EVERY_COLLECTIVITE, "depense", only("signature")))
    assert await bench.registries.circuits(COMMUNE) == [circuit()]


async def test_a_circuit_without_steps_gives_way_to_that_of_all(bench: Bench) -> None:
    await set_circuit(bench.history, circuit(EVERY_COLLECTIVITE, steps=only("signature")))
    await set_circuit(bench.history, circuit())
    await set_circuit(bench.history, circuit(steps=()))
    assert await bench.registries.circuits(COMMUNE) == [circuit(EVERY_COLLECTIVITE, steps=only("signature"))]
    await set_circuit(bench.history, circuit(EVERY_COLLECTIVITE, steps=()))
    assert await bench.registries.circuits(COMMUNE) == []


async def test_changes_are_those_of_a_collectivite_and_of_all_the_last_first(bench: Bench) -> None:
    for collectivite in (COMMUNE, OTHER_COMMUNE, EVERY_COLLECTIVITE):
        await set_circuit(bench.history, circuit(collectivite))
    assert [one.collectivite for one in await bench.registries.circuit_changes(COMMUNE)] == [
        EVERY_COLLECTIVITE,
        COMMUNE,
    ]


# --- Delegations -------------------------------------------------------------------------------------------------


async def test_a_delegation_is_read_back_as_it_was_recorded(bench: Bench) -> None:
    recorded = delegation()
    await delegate(bench.history, recorded)
    assert await bench.registries.delegations(COMMUNE) == [recorded]
    assert await bench.registries.delegation(recorded.delegation_id) == recorded
    assert await bench.registries.delegations(OTHER_COMMUNE) == []


async def test_an_unknown_delegation_is_none(bench: Bench) -> None:
    assert await bench.registries.delegation(new_id()) is None


async def test_no_other_collectivite_records_a_delegation_under_the_same_id(bench: Bench) -> None:
    first = delegation()
    await delegate(bench.history, first)
    with pytest.raises(NameTakenError):
        await delegate(bench.history, replace(first, collectivite=OTHER_COMMUNE))
    assert await bench.registries.delegations(COMMUNE) == [first]


async def test_of_several_ends_of_a_delegation_the_earliest_counts(bench: Bench) -> None:
    recorded = delegation()
    await delegate(bench.history, recorded)
    for days in (3, 1, 2):
        await bench.end_delegation(recorded, NOW + days * DAY)
    (ended,) = await bench.registries.delegations(COMMUNE)
    assert ended == replace(recorded, ended_at=NOW + DAY)
    assert not ended.holds(NOW + DAY)


# --- The seal ----------------------------------------------------------------------------------------------------


async def test_who_said_nothing_of_the_seal_has_made_no_choice(bench: Bench) -> None:
    assert await bench.registries.seal_choice(COMMUNE) is None
    await say(bench.history, an.seal_chosen, collectivite=OTHER_COMMUNE)
    assert await bench.registries.seal_choice(COMMUNE) is None
    assert await bench.registries.seal_choice(EVERY_COLLECTIVITE) is None


async def test_the_last_choice_counts_with_who_made_it_and_why(bench: Bench) -> None:
    await say(bench.history, an.seal_chosen, by="amina", at=NOW)
    await say(bench.history, an.seal_left, by="karim", at=NOW + DAY)
    left = SealChoice(COMMUNE, has_seal=False, reason=an.seal_left.reason, changed_by="karim", changed_at=NOW + DAY)
    assert await bench.registries.seal_choice(COMMUNE) == left


async def test_one_s_own_choice_comes_before_that_for_all_whichever_came_first(bench: Bench) -> None:
    await say(bench.history, an.seal_left)
    await say(bench.history, an.seal_chosen, collectivite=EVERY_COLLECTIVITE)
    own, of_all = [await bench.registries.seal_choice(one) for one in (COMMUNE, OTHER_COMMUNE)]
    assert (own and own.has_seal, of_all and of_all.has_seal) == (False, True)

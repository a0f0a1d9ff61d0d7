"""The journal: the same promises by the stand-in in memory and by PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.errors import NameTakenError, VersionConflictError
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxImported, FluxValidated
from shared.facts.reservations import DOCUMENT, IDEMPOTENCY_KEY, REPLY, Reservation
from shared.facts.streams import flux_stream
from shared.facts.values import Document
from shared.journal.history import History, PostgresHistory
from shared.journal.postgres import Database
from tests import examples as an
from tests.fakes.memory_history import MemoryHistory
from tests.recording import begun

NOW = datetime(2026, 2, 2, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgresql"])
async def history(request: pytest.FixtureRequest) -> AsyncIterator[History]:
    if request.param == "memory":
        yield MemoryHistory()
        return
    dsn = request.getfixturevalue("test_database").dsn()
    async with Database(dsn) as database:
        yield PostgresHistory(database)


def imported(digit: str = "a", **changes: object) -> FluxImported:
    fact = an.imported.model_copy(update={"document": Document(sha256=digit * 64, size=10)})
    return fact.model_copy(update=changes)


def event(fact: Fact, flux_id: UUID | None = None, collectivite: str = an.collectivite) -> Event:
    return begun(fact, stream=flux_stream(flux_id or new_id()), collectivite=collectivite, at=NOW)


async def start(history: History, fact: Fact) -> Event:
    (recorded,) = await history.append([event(fact)], expected_version=0)
    return recorded


async def test_what_was_appended_is_loaded_as_it_was_and_in_order(history: History) -> None:
    first = await start(history, imported())
    validated, requested = await history.append(
        [
            first.follow(an.validated, actor="validation", at=NOW),
            first.follow(an.signature_requested, actor="signature", at=NOW),
        ],
        expected_version=1,
    )
    assert await history.load(first.flux_id) == [first, validated, requested]
    assert [one.version for one in (first, validated, requested)] == [1, 2, 3]


@pytest.mark.parametrize(
    "text", ["\x00", "\\u0000", "Étangs 😀", "'); drop table journal; --", "\n\t\x7f"], ids=ascii
)
async def test_any_text_comes_back_as_it_was(history: History, text: str) -> None:
    recorded = await start(history, imported(filename=text))
    assert await history.load(recorded.flux_id) == [recorded]
    assert recorded.data == imported(filename=text)


async def test_a_flux_has_its_own_events_only(history: History) -> None:
    first, other = await start(history, imported("a")), await start(history, imported("b"))
    (validated,) = await history.append([first.follow(an.validated, actor="x", at=NOW)], expected_version=1)
    assert await history.load(first.flux_id) == [first, validated]
    assert await history.load(other.flux_id) == [other]


async def test_a_flux_that_does_not_exist_has_no_events(history: History) -> None:
    assert await history.load(new_id()) == []


@pytest.mark.parametrize("expected", [0, 2, 7])
async def test_an_append_on_another_version_is_refused_and_changes_nothing(history: History, expected: int) -> None:
    first = await start(history, imported())
    with pytest.raises(VersionConflictError):
        await history.append([first.follow(an.validated, actor="x", at=NOW)], expected_version=expected)
    assert await history.load(first.flux_id) == [first]


async def test_an_append_to_a_flux_that_does_not_exist_is_refused(history: History) -> None:
    with pytest.raises(VersionConflictError):
        await history.append([event(an.validated)], expected_version=1)


async def test_an_append_on_another_version_takes_no_name(history: History) -> None:
    with pytest.raises(VersionConflictError):
        await history.append([event(imported())], expected_version=3)
    assert await history.holder(Reservation(an.collectivite, DOCUMENT, "a" * 64)) is None


async def test_of_many_appends_on_one_version_one_wins(history: History) -> None:
    first = await start(history, imported())

    async def append() -> bool:
        try:
            await history.append([first.follow(an.validated, actor="x", at=NOW)], expected_version=1)
        except VersionConflictError:
            return False
        return True

    assert sum(await asyncio.gather(*(append() for _ in range(8)))) == 1
    assert len(await history.load(first.flux_id)) == 2


async def test_the_same_appended_many_times_at_once_to_one_stream_takes_its_names_once(history: History) -> None:
    flux_id = new_id()
    attempts = (history.append([event(imported(), flux_id)], expected_version=0) for _ in range(6))
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(one) for one in refused] == [VersionConflictError] * 5


async def test_the_same_file_of_one_collectivite_names_the_flux_that_has_it(history: History) -> None:
    first = await start(history, imported())
    with pytest.raises(NameTakenError) as taken:
        await start(history, imported())
    assert (taken.value.kind, taken.value.stream_id) == (DOCUMENT, first.flux_id)


async def test_the_same_file_of_two_collectivites_is_two_flux(history: History) -> None:
    first, other = event(imported()), event(imported(), collectivite="111222333")
    for one in (first, other):
        await history.append([one], expected_version=0)
    for one in (first, other):
        assert await history.holder(Reservation(one.collectivite, DOCUMENT, "a" * 64)) == one.flux_id


async def test_of_many_imports_of_one_file_one_wins(history: History) -> None:
    async def append() -> bool:
        try:
            await start(history, imported())
        except NameTakenError:
            return False
        return True

    assert sum(await asyncio.gather(*(append() for _ in range(8)))) == 1


async def test_an_idempotency_key_comes_before_the_file(history: History) -> None:
    first = await start(history, imported(idempotency_key="k"))
    with pytest.raises(NameTakenError) as taken:
        await start(history, imported(idempotency_key="k"))
    assert (taken.value.kind, taken.value.stream_id) == (IDEMPOTENCY_KEY, first.flux_id)
    with pytest.raises(NameTakenError) as taken:
        await start(history, imported("b", idempotency_key="k"))
    assert taken.value.kind == IDEMPOTENCY_KEY


async def test_a_refused_claim_records_nothing_and_takes_nothing(history: History) -> None:
    await start(history, imported())
    other = event(imported(idempotency_key="k"))
    with pytest.raises(NameTakenError):
        await history.append([other], expected_version=0)
    assert await history.load(other.flux_id) == []
    assert await history.holder(Reservation(an.collectivite, IDEMPOTENCY_KEY, "k")) is None


async def test_a_cancelled_flux_gives_its_file_up_and_keeps_its_key(history: History) -> None:
    first = await start(history, imported(idempotency_key="k"))
    await history.append([first.follow(an.cancelled, actor="amina", at=NOW)], expected_version=1)
    again = await start(history, imported())
    assert await history.holder(Reservation(an.collectivite, DOCUMENT, "a" * 64)) == again.flux_id
    assert await history.holder(Reservation(an.collectivite, IDEMPOTENCY_KEY, "k")) == first.flux_id


async def test_a_cancelled_flux_gives_up_nothing_of_another(history: History) -> None:
    first, other = await start(history, imported("a")), await start(history, imported("b"))
    await history.append([first.follow(an.cancelled, actor="amina", at=NOW)], expected_version=1)
    assert await history.holder(Reservation(an.collectivite, DOCUMENT, "a" * 64)) is None
    assert await history.holder(Reservation(an.collectivite, DOCUMENT, "b" * 64)) == other.flux_id


async def test_a_cancellation_on_another_version_gives_nothing_up(history: History) -> None:
    first = await start(history, imported())
    with pytest.raises(VersionConflictError):
        await history.append([first.follow(an.cancelled, actor="amina", at=NOW)], expected_version=7)
    assert await history.holder(Reservation(an.collectivite, DOCUMENT, "a" * 64)) == first.flux_id


async def test_a_reply_belongs_to_one_stream(history: History) -> None:
    first = await start(history, an.reply_received)
    with pytest.raises(NameTakenError) as taken:
        await start(history, an.reply_received)
    assert (taken.value.kind, taken.value.stream_id) == (REPLY, first.flux_id)


async def test_flux_are_found_by_nomfic_oldest_first(history: History) -> None:
    ids = []
    for digit in "ab":
        first = await start(history, imported(digit))
        reused = an.validated.model_copy(update={"nomfic_is_reused": True, "bordereaux": ()})
        await history.append([first.follow(reused, actor="validation", at=NOW)], expected_version=1)
        ids.append(first.flux_id)
    assert await history.validated_with_nomfic(an.header.nomfic) == ids
    assert await history.validated_with_nomfic(an.header.nomfic.lower()) == []


async def test_a_flux_that_was_not_validated_is_not_found_by_its_nomfic(history: History) -> None:
    first = await start(history, imported())
    invalidated = an.invalidated.model_copy(update={"header": an.header})
    await history.append([first.follow(invalidated, actor="validation", at=NOW)], expected_version=1)
    assert await history.validated_with_nomfic(an.header.nomfic) == []


async def test_flux_are_found_by_their_last_fact(history: History) -> None:
    first, other, last = [await start(history, imported(digit)) for digit in "abc"]
    await history.append([first.follow(an.validated, actor="validation", at=NOW)], expected_version=1)
    assert await history.whose_last_fact_is(kind_of(FluxImported)) == [other.flux_id, last.flux_id]
    assert await history.whose_last_fact_is(kind_of(FluxValidated)) == [first.flux_id]
    assert await history.whose_last_fact_is(kind_of(FluxValidated), [an.collectivite]) == [first.flux_id]
    assert await history.whose_last_fact_is(kind_of(FluxValidated), ["219900017"]) == []


async def test_an_append_holds_events_of_one_stream(history: History) -> None:
    with pytest.raises(ValueError, match="one stream"):
        await history.append([], expected_version=0)
    with pytest.raises(ValueError, match="one stream"):
        await history.append([event(imported("a")), event(imported("b"))], expected_version=0)

"""Collecting replies: each once, whole, recorded before it is moved, whatever fails in between."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from pes.reading.xml import parse, value_at
from pes.vocabulary import Header
from services.ack.collector import Collector
from services.simulator.acquit import DEPENSE, Element, Error, write_acquit
from shared.errors import UnavailableError, VersionConflictError
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.flux import FluxAcknowledged, FluxRejected, ReplyReceived, ReplyUnmatched
from shared.facts.lifecycles.flux import State, fold
from shared.facts.reservations import Reservation
from shared.facts.streams import reply_stream
from shared.retrying import ATTEMPTS_MAX, LAST_DELAY_SECONDS, TRIES_BEFORE_NEWS
from tests import examples as an
from tests.fakes.memory_documents import MemoryDocuments
from tests.fakes.memory_history import MemoryHistory
from tests.fakes.simulated_replies import SimulatedReplies
from tests.real.platform import sample
from tests.recording import begun

NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
FLUX = parse(sample(1))
NOMFIC = value_at(FLUX, "Enveloppe/Parametres/NomFic")
HEADER = Header.model_validate({**an.header.model_dump(), "nomfic": NOMFIC})
POLL_SECONDS, SETTLE_SECONDS = 3600.0, 600.0
NAME = "034990_260202120000-ACK-1.xml"
ACQUIT = write_acquit(FLUX, "flux.xml", [Element(DEPENSE, number="100", exercice="2026")])
NACK = write_acquit(
    FLUX, "flux.xml", [Element(DEPENSE, number="100", exercice="2026", errors=(Error("TS42", "Tiers inconnu"),))]
)
SENT: list[Fact] = [
    an.imported,
    an.validated.model_copy(update={"header": HEADER}),
    an.signed,
    an.requested,
    an.attempted,
    an.transmitted,
]


@dataclass
class ContestedHistory(MemoryHistory):
    """A journal in which someone else appends first, so many times."""

    conflicts: int = 0

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        if self.conflicts:
            self.conflicts -= 1
            raise VersionConflictError(events[0].flux_id, expected_version)
        return await super().append(events, expected_version=expected_version)


class SeenEnoughError(Exception):
    """Ends a collector that would go on for ever."""


@dataclass
class Bench:
    """A collector, and all that it touches."""

    server: SimulatedReplies = field(default_factory=SimulatedReplies)
    history: ContestedHistory = field(default_factory=ContestedHistory)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    done: str = "/traite"

    def __post_init__(self) -> None:
        self.collector = self.new_collector()

    def new_collector(self, wait: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Collector:
        """Return the collector of a process that has just started."""
        return Collector(
            self.server,
            self.documents,
            self.history,
            now=lambda: NOW,
            done_directory=self.done,
            poll_seconds=POLL_SECONDS,
            settle_seconds=SETTLE_SECONDS,
            bytes_max=100_000,
            wait=wait,
        )

    async def flux(self, facts: list[Fact]) -> UUID:
        first = begun(facts[0])
        events = [first, *(first.follow(fact, actor="x", at=NOW) for fact in facts[1:])]
        await self.history.append(events, expected_version=0)
        return first.flux_id

    async def pass_twice(self) -> None:
        """List once to see a file, again to see that it is stable, and take it."""
        await self.collector.collect()
        await self.collector.collect()

    def kinds(self) -> list[type[Fact]]:
        """Return what was recorded by the collector."""
        return [type(event.data) for event in self.history.log if event.actor == "dgfip"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_reply_is_recorded_with_its_verdict_in_one_append_then_moved(bench: Bench) -> None:
    flux_id = await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    await bench.pass_twice()
    past = await bench.history.load(flux_id)
    assert [type(event.data) for event in past[-2:]] == [ReplyReceived, FluxAcknowledged]
    assert past[-1].actor == "dgfip"
    assert past[-1].causation_id == past[-2].event_id
    assert fold(event.data for event in past).state is State.ACKNOWLEDGED
    assert bench.server.moved == {f"/traite/{NAME}": ACQUIT}


async def test_a_file_that_still_grows_is_left_until_it_is_stable(bench: Bench) -> None:
    for length in (100, 200, len(ACQUIT)):
        bench.server.put(NAME, ACQUIT[:length], modified_at=length)
        await bench.collector.collect()
        assert bench.kinds() == []
    await bench.collector.collect()
    assert bench.kinds() == [ReplyReceived, ReplyUnmatched]


async def test_a_file_that_grows_while_it_is_read_is_not_taken(bench: Bench) -> None:
    bench.server.put(NAME, ACQUIT[:100])
    await bench.collector.collect()
    listing = bench.server.listing

    async def then_grow() -> list[object]:
        files = await listing()
        bench.server.put(NAME, ACQUIT)
        return list(files)

    bench.server.listing = then_grow  # type: ignore[assignment,method-assign]
    await bench.collector.collect()
    assert bench.kinds() == []
    assert NAME in bench.server.files


async def test_a_reply_that_comes_twice_is_recorded_once_and_moved_twice(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    await bench.pass_twice()
    bench.server.put("again.xml", ACQUIT)
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]
    assert set(bench.server.moved) == {f"/traite/{NAME}", "/traite/again.xml"}


async def test_a_crash_after_the_append_and_before_the_move_records_nothing_twice(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    bench.server.is_down_for_moves = True
    await bench.collector.collect()
    with pytest.raises(UnavailableError):
        await bench.collector.collect()
    bench.server.is_down_for_moves = False
    bench.collector = bench.new_collector()
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]
    assert bench.server.files == {}


def resent(emitted_on: str = "") -> list[Fact]:
    """Return the facts of a second flux with the same NomFic, which someone answered for."""
    document = an.imported.document.model_copy(update={"sha256": "b" * 64})
    header = HEADER.model_copy(update={"emitted_on": emitted_on or HEADER.emitted_on})
    validated = an.validated.model_copy(update={"header": header, "nomfic_is_reused": True, "bordereaux": ()})
    return [an.imported.model_copy(update={"document": document}), validated, *SENT[2:]]


async def test_the_bytes_that_answered_one_flux_may_be_the_answer_of_another_which_a_person_says(
    bench: Bench,
) -> None:
    await bench.flux(SENT)
    bench.server.put("a.xml", NACK)
    await bench.pass_twice()
    second = await bench.flux(resent())
    bench.server.put("b.xml", NACK)
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxRejected, ReplyReceived, ReplyUnmatched]
    unmatched = bench.history.log[-1].data
    assert isinstance(unmatched, ReplyUnmatched)
    assert str(second) in unmatched.reason
    assert "Le même contenu est déjà venu sous un autre nom de fichier" in unmatched.reason


async def test_the_bytes_that_came_for_nobody_are_the_answer_of_the_flux_that_waits_now(bench: Bench) -> None:
    bench.server.put("a.xml", NACK)
    await bench.pass_twice()
    flux_id = await bench.flux(SENT)
    bench.server.put("b.xml", NACK)
    await bench.pass_twice()
    assert fold(event.data for event in await bench.history.load(flux_id)).state is State.REJECTED
    assert set(bench.server.moved) == {"/traite/a.xml", "/traite/b.xml"}


async def test_two_files_with_the_same_bytes_that_match_no_flux_are_both_kept_apart(bench: Bench) -> None:
    for name in ("a.xml", "b.xml"):
        bench.server.put(name, NACK)
        await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, ReplyUnmatched] * 2
    assert len({event.stream_id for event in bench.history.log}) == 2


@pytest.mark.parametrize("is_awaited", [True, False], ids=["the answer of a flux", "kept apart"])
async def test_a_crash_before_the_move_of_a_repeated_reply_records_nothing_twice(
    bench: Bench, is_awaited: bool
) -> None:
    bench.server.put("a.xml", NACK)
    await bench.pass_twice()
    if is_awaited:
        await bench.flux(SENT)
    bench.server.put("b.xml", NACK)
    bench.server.is_down_for_moves = True
    await bench.collector.collect()
    with pytest.raises(UnavailableError):
        await bench.collector.collect()
    recorded = bench.kinds()
    assert len(recorded) == 4
    bench.server.is_down_for_moves = False
    bench.collector = bench.new_collector()
    await bench.pass_twice()
    assert bench.kinds() == recorded
    assert bench.server.files == {}


async def test_a_reply_left_in_place_is_never_the_answer_of_a_flux_that_came_later() -> None:
    bench = Bench(done="")
    await bench.flux(SENT)
    bench.server.put("a.xml", NACK)
    await bench.pass_twice()
    await bench.flux(resent())
    bench.collector = bench.new_collector()
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxRejected]


async def test_bytes_that_another_process_records_meanwhile_are_decided_on_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.server.put(NAME, NACK)
    holders = bench.history.holders

    async def then_recorded(names: Sequence[Reservation]) -> dict[Reservation, UUID]:
        monkeypatch.setattr(bench.history, "holders", holders)
        known = await holders(names)
        document = await bench.documents.put_bytes(NACK)
        first = begun(ReplyReceived(document=document, remote_name=NAME), stream=reply_stream(new_id()))
        await bench.history.append([first], expected_version=0)
        return known

    monkeypatch.setattr(bench.history, "holders", then_recorded)
    await bench.pass_twice()
    assert [type(event.data) for event in bench.history.log] == [ReplyReceived]
    assert bench.server.files == {}


async def test_a_late_second_answer_of_one_flux_is_not_the_verdict_of_another(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put("a.xml", ACQUIT)
    await bench.pass_twice()
    second = await bench.flux(resent())
    bench.server.put("again.xml", ACQUIT + b"\n")
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged, ReplyReceived, ReplyUnmatched]
    assert fold(event.data for event in await bench.history.load(second)).state is State.AWAITING_ACK


async def test_the_answer_of_a_file_corrected_on_another_day_waits_for_nobody(bench: Bench) -> None:
    before = HEADER.model_copy(update={"emitted_on": "1999-01-01"})
    await bench.flux([SENT[0], an.validated.model_copy(update={"header": before}), *SENT[2:]])
    bench.server.put("a.xml", NACK)
    await bench.pass_twice()
    second = await bench.flux(resent(value_at(FLUX, "EnTetePES/DteStr")))
    bench.server.put("b.xml", ACQUIT)
    await bench.pass_twice()
    assert fold(event.data for event in await bench.history.load(second)).state is State.ACKNOWLEDGED


async def test_while_the_journal_is_away_nothing_moves(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    await bench.collector.collect()
    bench.history.is_down = True
    with pytest.raises(UnavailableError):
        await bench.collector.collect()
    assert NAME in bench.server.files
    bench.history.is_down = False
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]


async def test_a_reply_for_no_flux_has_a_stream_of_its_own(bench: Bench) -> None:
    bench.server.put(NAME, ACQUIT)
    await bench.pass_twice()
    (received, unmatched) = bench.history.log
    assert received.flux_id == unmatched.flux_id
    assert isinstance(unmatched.data, ReplyUnmatched)
    assert NOMFIC in unmatched.data.reason
    assert bench.server.files == {}


async def test_whatever_comes_is_kept_and_explained(bench: Bench) -> None:
    bench.server.put("odd.bin", b"\x00\x01\x02")
    await bench.pass_twice()
    unmatched = bench.history.log[-1].data
    assert isinstance(unmatched, ReplyUnmatched)
    assert "n’est pas un document XML" in unmatched.reason
    assert b"\x00\x01\x02" in bench.documents.contents.values()


async def test_empty_too_large_temporary_files_and_our_own_stay_where_they_are(bench: Bench) -> None:
    for name, content in {
        "empty.xml": b"",
        "huge.xml": b"x" * 100_001,
        ".part": ACQUIT,
        "PESALR1_1.xml": ACQUIT,
    }.items():
        bench.server.put(name, content)
    await bench.pass_twice()
    assert bench.history.log == []
    assert bench.server.reads == []
    assert len(bench.server.files) == 4


async def test_a_file_that_the_server_refuses_does_not_stop_the_others(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put("a.xml", b"<a/>")
    bench.server.refuses = {"a.xml"}
    bench.server.put(NAME, ACQUIT)
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]
    assert set(bench.server.files) == {"a.xml"}


async def test_replies_may_be_left_where_they_are_and_are_read_once() -> None:
    bench = Bench(done="")
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    for _ in range(4):
        await bench.collector.collect()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]
    assert bench.server.reads == [NAME]
    assert bench.server.moved == {}


async def test_someone_who_appends_first_does_not_lose_a_reply(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    bench.history.conflicts = ATTEMPTS_MAX - 1
    await bench.pass_twice()
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]


async def test_conflicts_without_end_are_a_bug_and_the_reply_stays(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    bench.history.conflicts = ATTEMPTS_MAX
    with pytest.raises(VersionConflictError):
        await bench.pass_twice()
    assert NAME in bench.server.files


async def test_a_new_file_is_looked_at_again_soon_then_the_usual_time_passes(bench: Bench) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise SeenEnoughError

    bench.server.put(NAME, ACQUIT)
    with pytest.raises(SeenEnoughError):
        await bench.new_collector(wait).run()
    assert waited == [SETTLE_SECONDS, POLL_SECONDS, POLL_SECONDS]


async def test_a_server_that_is_away_is_told_and_waited_for(bench: Bench) -> None:
    await bench.flux(SENT)
    bench.server.put(NAME, ACQUIT)
    bench.server.is_down = True
    waited: list[float] = []
    told: list[list[str]] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        told.append(collector.waits_for())
        bench.server.is_down = len(waited) < TRIES_BEFORE_NEWS
        if bench.server.moved:
            raise SeenEnoughError

    collector = bench.new_collector(wait)
    with pytest.raises(SeenEnoughError):
        await collector.run()
    assert told == [[], [], ["sftp"], [], []]
    assert max(waited[:TRIES_BEFORE_NEWS]) < LAST_DELAY_SECONDS
    assert waited[TRIES_BEFORE_NEWS:] == [SETTLE_SECONDS, POLL_SECONDS]
    assert bench.kinds() == [ReplyReceived, FluxAcknowledged]

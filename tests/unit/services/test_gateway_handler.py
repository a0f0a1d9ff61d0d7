"""Sending: once as far as DGFiP can tell, whatever is cut off, and never before it is recorded."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pes.vocabulary import Header
from services.gateway.adapters.markers import StoredMarkers
from services.gateway.decide import Rules
from services.gateway.handler import Sender
from shared.errors import DocumentMissingError, MalformedMessageError, UnavailableError, VersionConflictError
from shared.facts import flux as of_flux
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import Flux, State, fold
from shared.facts.values import Document
from tests import examples as an
from tests.fakes.chosen_channels import ChosenChannels
from tests.fakes.memory_documents import MemoryDocuments
from tests.fakes.memory_history import MemoryHistory
from tests.fakes.simulated_channel import SimulatedChannel
from tests.recording import begun

CONTENT = b"<signed/>" * 100
DOCUMENT = Document(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
SHA1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
NAME = f"VHPCE11%%THELPES2%%PES#123#034990#00%%{SHA1}"
SIGNED: list[Fact] = [an.imported, an.validated, of_flux.FluxSigned(document=DOCUMENT, signatures=())]
NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
IN_DOUBT_SECONDS = 60


@dataclass
class ForgetfulHistory(MemoryHistory):
    """A journal that goes away in the middle: before, or right after, it records facts of these kinds."""

    fails_before: set[type[Fact]] = field(default_factory=set)
    fails_after: set[type[Fact]] = field(default_factory=set)

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        kinds = {type(event.data) for event in events}
        if kinds & self.fails_before:
            self.fails_before = set()
            raise UnavailableError("postgresql", "before")
        recorded = await super().append(events, expected_version=expected_version)
        if kinds & self.fails_after:
            self.fails_after = set()
            raise UnavailableError("postgresql", "after")
        return recorded


@dataclass
class Bench:
    """A sender, and all that it touches."""

    history: ForgetfulHistory = field(default_factory=ForgetfulHistory)
    documents: MemoryDocuments = field(default_factory=lambda: MemoryDocuments({DOCUMENT.sha256: CONTENT}))
    channel: SimulatedChannel = field(default_factory=SimulatedChannel)
    others: Sequence[SimulatedChannel] = ()
    choices: ChosenChannels = field(default_factory=ChosenChannels)
    policy: str = "resend"
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all that was only in memory."""
        rules = Rules(
            in_doubt_seconds=IN_DOUBT_SECONDS,
            in_doubt_policy=self.policy,  # type: ignore[arg-type]
            refusals_max=3,
            refused_retry_seconds=10,
        )
        self.sender = Sender(
            history=self.history,
            documents=self.documents,
            markers=StoredMarkers(self.documents),
            channels={channel.name: channel for channel in (self.channel, *self.others)},
            usual=self.channel.name,
            choices=self.choices,
            now=lambda: self.now,
            rules=rules,
            p_dest="VHPCE11",
            p_appli="THELPES2",
            growth_seconds_max=0,
        )

    async def flux(self, facts: list[Fact]) -> Event:
        """Record a flux and return its last event, which is what the gateway hears of."""
        first = begun(facts[0])
        events = [first, *(first.follow(fact, actor="x", at=NOON) for fact in facts[1:])]
        return (await self.history.append(events, expected_version=0))[-1]

    async def restored(self, count: int) -> "Bench":
        """Return the bench whose journal is a backup of the first facts of this one; the rest stayed as it is."""
        other = Bench(documents=self.documents, channel=self.channel, policy=self.policy, now=self.now)
        await other.history.append(self.history.log[:count], expected_version=0)
        return other

    async def hear(self, event: Event) -> None:
        await self.sender.on_ready(event, event.data)

    async def hear_until_it_works(self, event: Event) -> None:
        """Redeliver as the bus does while a party is away, in a process that lives on."""
        for _ in range(5):
            try:
                await self.hear(event)
            except UnavailableError:
                continue
            return
        raise AssertionError("it never works")

    async def review_after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await self.sender.review_holds_once()

    async def flux_now(self, flux_id: UUID) -> Flux:
        return fold(event.data for event in await self.history.load(flux_id))

    def kinds(self) -> list[type[Fact]]:
        """Return what the gateway recorded."""
        return [type(event.data) for event in self.history.log if event.actor == "gateway"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_signed_flux_leaves_under_its_name(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    assert bench.channel.received == [(NAME, CONTENT)]
    assert bench.kinds() == [of_flux.TransmissionRequested, of_flux.TransmissionAttempted, of_flux.FluxTransmitted]
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK


async def test_the_name_is_recorded_before_the_first_byte_leaves(bench: Bench) -> None:
    seen: list[list[type[Fact]]] = []
    put = bench.channel.put

    async def watch(remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        seen.append(bench.kinds())
        await put(remote_name, chunks)

    bench.channel.put = watch  # type: ignore[method-assign]
    await bench.hear(await bench.flux(SIGNED))
    assert seen == [[of_flux.TransmissionRequested, of_flux.TransmissionAttempted]]
    (attempted,) = [
        event.data for event in bench.history.log if isinstance(event.data, of_flux.TransmissionAttempted)
    ]
    assert attempted.remote_name == NAME


async def test_a_redelivery_sends_nothing_again(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    for _ in range(3):
        await bench.hear(event)
    bench.restart()
    await bench.hear(event)
    assert len(bench.channel.received) == 1


async def test_two_messages_about_one_flux_at_once_send_it_once(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    await asyncio.gather(*(bench.hear(event) for _ in range(5)))
    assert len(bench.channel.received) == 1


async def test_two_processes_at_once_send_it_once(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    first = bench.sender
    bench.restart()
    results = await asyncio.gather(first.on_ready(event, event.data), bench.hear(event), return_exceptions=True)
    assert all(result is None or isinstance(result, VersionConflictError) for result in results)
    assert len(bench.channel.received) == 1


async def test_while_the_server_is_away_nothing_is_recorded(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.is_down = True
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    assert bench.kinds() == []
    bench.channel.is_down = False
    await bench.hear(event)
    assert len(bench.channel.received) == 1


async def test_a_journal_away_before_the_attempt_is_recorded_sends_nothing_then_once(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.history.fails_before = {of_flux.TransmissionAttempted}
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    assert bench.channel.received == []
    await bench.hear(event)
    assert len(bench.channel.received) == 1


async def test_an_attempt_recorded_and_known_not_to_have_begun_is_made(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.history.fails_after = {of_flux.TransmissionAttempted}
    await bench.hear_until_it_works(event)
    assert len(bench.channel.received) == 1
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK


async def test_a_connection_lost_before_the_first_byte_leaves_no_doubt(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.is_lost_before_the_first_byte = True
    await bench.hear_until_it_works(event)
    assert bench.channel.received == [(NAME, CONTENT)]
    assert bench.kinds() == [
        of_flux.TransmissionRequested,
        of_flux.TransmissionAttempted,
        of_flux.TransmissionAttempted,
        of_flux.FluxTransmitted,
    ]


async def test_the_attempt_of_another_process_is_not_taken_for_one_that_has_not_begun(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.history.fails_before = {of_flux.TransmissionAttempted}
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    first = bench.sender
    bench.restart()
    bench.channel.is_last_word_lost = True
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    await first.on_ready(event, event.data)
    assert len(bench.channel.received) == 1
    assert bench.kinds()[-1] is of_flux.TransmissionHeld


async def test_a_file_that_grows_is_left_to_the_process_that_writes_it(bench: Bench) -> None:
    event = await bench.flux([*SIGNED, an.requested, _attempt()])
    bench.channel.files[NAME] = CONTENT[:100]
    size_of = bench.channel.size_of

    async def grow(remote_name: str) -> int | None:
        size = await size_of(remote_name)
        bench.channel.files[NAME] += b"more"
        return size

    bench.channel.size_of = grow  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="another process"):
        await bench.hear(event)
    assert bench.kinds() == []
    assert bench.channel.received == []


@pytest.mark.parametrize("moment", ["fails_before", "fails_after"])
async def test_a_journal_away_after_the_upload_records_it_later_and_sends_nothing_again(
    bench: Bench, moment: str
) -> None:
    event = await bench.flux(SIGNED)
    setattr(bench.history, moment, {of_flux.FluxTransmitted})
    await bench.hear_until_it_works(event)
    assert len(bench.channel.received) == 1
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK


async def test_killed_after_the_upload_the_file_found_on_the_server_is_the_proof(bench: Bench) -> None:
    bench.channel.takes = False
    event = await bench.flux(SIGNED)
    bench.history.fails_before = {of_flux.FluxTransmitted}
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    bench.restart()
    await bench.hear(event)
    assert len(bench.channel.received) == 1
    last = bench.history.log[-1].data
    assert isinstance(last, of_flux.FluxTransmitted)
    assert last.evidence == "found_on_server"


async def test_killed_after_the_upload_and_the_file_taken_the_sending_is_in_doubt_and_waits(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.history.fails_before = {of_flux.FluxTransmitted}
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    bench.restart()
    await bench.hear(event)
    assert len(bench.channel.received) == 1
    assert bench.kinds()[-1] is of_flux.TransmissionHeld
    await bench.review_after(IN_DOUBT_SECONDS - 1)
    assert bench.kinds()[-1] is of_flux.TransmissionHeld


async def test_an_answer_settles_a_sending_in_doubt(bench: Bench) -> None:
    event = await bench.flux([*SIGNED, an.requested, an.attempted, an.held, an.reply_received, an.acknowledged])
    await bench.hear(event)
    await bench.review_after(10 * IN_DOUBT_SECONDS)
    assert bench.channel.received == []


async def test_silence_for_long_enough_releases_a_sending_in_doubt_where_the_policy_says_so(bench: Bench) -> None:
    event = await bench.flux([*SIGNED, an.requested, _attempt()])
    await bench.hear(event)
    assert bench.kinds() == [of_flux.TransmissionHeld]
    await bench.review_after(IN_DOUBT_SECONDS + 1)
    assert bench.kinds() == [of_flux.TransmissionHeld, of_flux.TransmissionReleased]
    await bench.hear(bench.history.log[-1])
    assert bench.channel.received == [(NAME, CONTENT)]
    assert (await bench.flux_now(event.flux_id)).attempt == _attempt(2)


async def test_replies_not_yet_collected_keep_a_sending_in_doubt(bench: Bench) -> None:
    await bench.hear(await bench.flux([*SIGNED, an.requested, _attempt()]))
    bench.channel.reply_names.append("reply.xml")
    await bench.review_after(IN_DOUBT_SECONDS + 1)
    assert bench.kinds() == [of_flux.TransmissionHeld]


async def test_where_the_policy_is_to_hold_only_a_person_releases() -> None:
    bench = Bench(policy="hold")
    await bench.hear(await bench.flux([*SIGNED, an.requested, _attempt()]))
    await bench.review_after(1_000_000)
    assert bench.kinds() == [of_flux.TransmissionHeld]


async def test_a_file_cut_in_the_middle_is_sent_again_under_the_same_name(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.cut_after_bytes = 100
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    bench.restart()
    await bench.hear(event)
    assert bench.channel.received == [(NAME, CONTENT)]
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK


async def test_the_last_word_lost_is_a_doubt_and_no_second_sending(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.is_last_word_lost = True
    await bench.hear_until_it_works(event)
    assert len(bench.channel.received) == 1
    assert bench.kinds()[-1] is of_flux.TransmissionHeld


async def test_a_refusal_is_recorded_waited_for_and_tried_again(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.refusal = "disk full"
    await bench.hear(event)
    assert bench.kinds() == [
        of_flux.TransmissionRequested,
        of_flux.TransmissionAttempted,
        of_flux.TransmissionFailed,
        of_flux.TransmissionHeld,
    ]
    bench.channel.refusal = ""
    await bench.review_after(11)
    await bench.hear(bench.history.log[-1])
    assert bench.channel.received == [(NAME, CONTENT)]


async def test_after_several_refusals_a_person_decides(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.refusal = "no"
    await bench.hear(event)
    for _ in range(6):
        await bench.review_after(3600)
        await bench.hear(bench.history.log[-1])
    flux = await bench.flux_now(event.flux_id)
    assert flux.held is not None
    assert flux.held.until is None
    assert bench.channel.received == []


async def test_a_flux_imported_to_wait_waits(bench: Bench) -> None:
    await bench.hear(await bench.flux([an.imported_on_request, *SIGNED[1:]]))
    assert bench.kinds() == []


async def test_a_document_that_is_lost_or_damaged_never_leaves(bench: Bench) -> None:
    bench.documents.contents.clear()
    with pytest.raises(DocumentMissingError):
        await bench.hear(await bench.flux(SIGNED))
    assert bench.channel.received == []
    assert bench.kinds() == []


async def test_values_that_would_make_a_path_of_the_name_are_parked(bench: Bench) -> None:
    header = Header.model_validate({**an.header.model_dump(), "cod_col": "../x"})
    validated = an.validated.model_copy(update={"header": header})
    with pytest.raises(MalformedMessageError):
        await bench.hear(await bench.flux([an.imported, validated, SIGNED[2]]))
    assert bench.channel.received == []


def _attempt(number: int = 1) -> of_flux.TransmissionAttempted:
    return an.attempted.model_copy(update={"attempt": number, "document": DOCUMENT, "remote_name": NAME})


@pytest.mark.parametrize("past", [SIGNED, [*SIGNED, an.requested]], ids=["when ready", "asked for"])
async def test_a_flux_whose_collectivite_chose_another_channel_waits_until_it_is_ours(past: list[Fact]) -> None:
    bench = Bench(choices=ChosenChannels({"1": "passtrans-ftp"}))
    event = await bench.flux(past)
    await bench.hear(event)
    flux = await bench.flux_now(event.flux_id)
    assert flux.on_screen == "Envoi suspendu"
    assert flux.held is not None
    assert "passtrans-ftp" in flux.held.cause
    await bench.sender.review_holds_once()
    assert bench.channel.received == []
    bench.choices.channels = {"1": bench.channel.name}
    await bench.sender.review_holds_once()
    released = (await bench.history.load(event.flux_id))[-1]
    assert isinstance(released.data, of_flux.TransmissionReleased)
    await bench.hear(released)
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK
    assert bench.channel.received == [(NAME, CONTENT)]


async def test_a_person_who_asks_sends_nothing_by_a_channel_that_was_not_chosen() -> None:
    bench = Bench(choices=ChosenChannels({"1": "passtrans-ftp"}))
    held = of_flux.TransmissionHeld(attempt=1, cause="canal", waits_for="channel")
    event = await bench.flux([*SIGNED, an.requested, held, an.released])
    await bench.hear(event)
    assert (await bench.flux_now(event.flux_id)).held is not None
    assert bench.channel.received == []


async def test_each_flux_leaves_by_the_channel_of_its_collectivite() -> None:
    other = SimulatedChannel(name="passtrans-ftp")
    bench = Bench(others=[other], choices=ChosenChannels({"1": other.name}))
    bench.channel.is_down = True
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    assert (bench.channel.received, other.received) == ([], [(NAME, CONTENT)])
    attempt = (await bench.flux_now(event.flux_id)).attempt
    assert attempt is not None
    assert attempt.channel == other.name


async def test_an_attempt_is_settled_where_it_was_made() -> None:
    other = SimulatedChannel(name="passtrans-ftp", files={NAME: CONTENT})
    bench = Bench(others=[other])
    event = await bench.flux([*SIGNED, an.requested, _attempt().model_copy(update={"channel": other.name})])
    await bench.hear(event)
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK
    assert bench.channel.received == []


async def test_a_file_cut_in_the_middle_is_sent_again_over_itself_whatever_was_chosen_since() -> None:
    other = SimulatedChannel(name="passtrans-ftp", files={NAME: CONTENT[:100]})
    bench = Bench(others=[other])
    await bench.hear(await bench.flux([*SIGNED, an.requested, _attempt().model_copy(update={"channel": other.name})]))
    assert (bench.channel.received, other.received) == ([], [(NAME, CONTENT)])


async def test_replies_that_wait_on_the_channel_of_an_attempt_keep_it_in_doubt() -> None:
    other = SimulatedChannel(name="passtrans-ftp", reply_names=["reply.xml"])
    bench = Bench(others=[other])
    await bench.hear(await bench.flux([*SIGNED, an.requested, _attempt().model_copy(update={"channel": other.name})]))
    await bench.review_after(IN_DOUBT_SECONDS + 1)
    assert bench.kinds() == [of_flux.TransmissionHeld]
    other.reply_names.clear()
    await bench.review_after(1)
    assert bench.kinds() == [of_flux.TransmissionHeld, of_flux.TransmissionReleased]


async def test_an_attempt_on_a_channel_that_is_gone_waits_for_a_person(bench: Bench) -> None:
    await bench.hear(await bench.flux([*SIGNED, an.requested, _attempt().model_copy(update={"channel": "gone"})]))
    await bench.review_after(10 * IN_DOUBT_SECONDS)
    assert bench.kinds() == [of_flux.TransmissionHeld]
    assert bench.channel.received == []


async def test_a_flux_cancelled_while_its_channel_is_not_ours_never_leaves() -> None:
    bench = Bench(choices=ChosenChannels({"1": "passtrans-ftp"}))
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    past = await bench.history.load(event.flux_id)
    held = past[-1].data
    assert isinstance(held, of_flux.TransmissionHeld)
    assert "heliotrope flux cancel" in held.cause
    cancelled = past[-1].follow(an.cancelled, actor="amina", at=NOON)
    await bench.history.append([cancelled], expected_version=len(past))
    bench.choices.channels = {}
    await bench.sender.review_holds_once()
    await bench.hear(event)
    assert bench.channel.received == []
    assert (await bench.flux_now(event.flux_id)).on_screen == "Annulé"


async def test_of_an_attempt_and_a_cancellation_at_once_only_one_is_recorded(bench: Bench) -> None:
    event = await bench.flux([*SIGNED, an.requested])

    async def cancelled_meanwhile() -> None:
        past = await bench.history.load(event.flux_id)
        cancelled = past[-1].follow(an.cancelled, actor="amina", at=NOON)
        await bench.history.append([cancelled], expected_version=len(past))

    bench.channel.open = cancelled_meanwhile  # type: ignore[method-assign]  # the sender has loaded the flux by then
    with pytest.raises(VersionConflictError):
        await bench.hear(event)
    await bench.hear(event)
    assert bench.channel.received == []
    assert bench.kinds() == []


async def test_a_file_that_has_left_is_settled_whatever_was_chosen_since() -> None:
    bench = Bench(choices=ChosenChannels({"1": "passtrans-ftp"}))
    attempted = an.attempted.model_copy(update={"document": DOCUMENT, "remote_name": NAME})
    event = await bench.flux([*SIGNED, an.requested, attempted])
    bench.channel.files[NAME] = CONTENT
    await bench.hear(event)
    assert (await bench.flux_now(event.flux_id)).state is State.AWAITING_ACK


async def test_the_marker_is_there_before_the_first_byte_leaves(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    seen: list[dict[str, bytes]] = []
    put = bench.channel.put

    async def watch(remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        seen.append(dict(bench.documents.named))
        await put(remote_name, chunks)

    bench.channel.put = watch  # type: ignore[method-assign]
    await bench.hear(event)
    (attempted,) = [one for one in bench.history.log if isinstance(one.data, of_flux.TransmissionAttempted)]
    assert seen == [{f"sent/{event.flux_id}/1": attempted.to_bytes()}]


async def test_while_no_marker_can_be_put_nothing_leaves_and_one_attempt_is_recorded(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.documents.is_full = True
    for _ in range(3):
        with pytest.raises(UnavailableError, match="documents"):
            await bench.hear(event)
    assert bench.kinds() == [of_flux.TransmissionRequested, of_flux.TransmissionAttempted]
    assert bench.channel.received == []
    bench.documents.is_full = False
    await bench.hear(event)
    assert bench.channel.received == [(NAME, CONTENT)]


async def test_killed_before_the_marker_it_is_in_doubt_as_any_attempt_in_flight(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.documents.is_full = True
    with pytest.raises(UnavailableError):
        await bench.hear(event)
    bench.documents.is_full = False
    bench.restart()
    await bench.hear(event)
    assert bench.kinds()[-1] is of_flux.TransmissionHeld
    assert bench.channel.received == []


@pytest.mark.parametrize("policy", ["hold", "resend"])
async def test_after_a_restore_what_left_is_held_and_says_why(policy: str) -> None:
    bench = Bench(policy=policy)
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    restored = await bench.restored(len(SIGNED))
    for _ in range(2):
        await restored.hear(event)
    await restored.review_after(1_000_000)
    flux = await restored.flux_now(event.flux_id)
    assert flux.held is not None
    for said in ("restaurée", NAME, "02/02/2026 à 12:00:00", "envoi n° 1"):
        assert said in flux.held.cause
    assert not flux.may_be_cancelled
    assert bench.channel.received == [(NAME, CONTENT)]


async def test_after_a_restore_a_reply_ends_the_doubt(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    restored = await bench.restored(len(SIGNED))
    await restored.hear(event)
    past = await restored.history.load(event.flux_id)
    received = past[-1].follow(an.reply_received, actor="ack", at=NOON)
    verdict = received.follow(an.acknowledged, actor="ack", at=NOON)
    await restored.history.append([received, verdict], expected_version=len(past))
    await restored.hear(event)
    assert (await restored.flux_now(event.flux_id)).state is State.ACKNOWLEDGED
    assert len(bench.channel.received) == 1


async def test_after_a_restore_the_file_found_on_the_server_is_the_proof(bench: Bench) -> None:
    bench.channel.takes = False
    event = await bench.flux(SIGNED)
    await bench.hear(event)
    restored = await bench.restored(len(SIGNED))
    await restored.hear(event)
    assert restored.kinds() == bench.kinds()
    assert (await restored.flux_now(event.flux_id)).state is State.AWAITING_ACK
    assert len(bench.channel.received) == 1


async def test_after_a_restore_and_a_release_the_next_attempt_has_a_number_of_its_own(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.cut_after_bytes = 100
    await bench.hear_until_it_works(event)
    restored = await bench.restored(len(SIGNED))
    await restored.hear(event)
    past = await restored.history.load(event.flux_id)
    released = past[-1].follow(an.released, actor="amina", at=NOON)
    await restored.history.append([released], expected_version=len(past))
    await restored.hear(released)
    assert (await restored.flux_now(event.flux_id)).attempt == _attempt(3)
    assert sorted(bench.documents.named) == [f"sent/{event.flux_id}/{number}" for number in (1, 2, 3)]
    assert len(bench.channel.received) == 2


async def test_a_marker_that_cannot_be_read_keeps_the_flux(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.documents.named[f"sent/{event.flux_id}/1"] = b"{"
    with pytest.raises(MalformedMessageError):
        await bench.hear(event)
    assert bench.channel.received == []
    assert bench.kinds() == []


async def test_a_journal_that_knows_all_that_left_is_not_taken_for_a_restored_one(bench: Bench) -> None:
    event = await bench.flux(SIGNED)
    bench.channel.refusal = "disk full"
    await bench.hear(event)
    bench.channel.refusal = ""
    await bench.review_after(11)
    await bench.hear(bench.history.log[-1])
    assert bench.channel.received == [(NAME, CONTENT)]

"""Sending over real SFTP, recorded in a real journal: once, whole, and nothing before it is recorded.

Where a test says "killed", the process ended between two lines: the journal no longer answers it, its connection is
gone, and another process hears the same message again.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncssh
import pytest

from services.gateway.adapters.sftp import SftpChannel
from services.gateway.handler import Sender
from shared.errors import UnavailableError
from shared.facts import flux
from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.lifecycles.flux import State, fold
from shared.facts.streams import BY_KIND
from shared.facts.values import Document
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.runtime.sftp import SftpServer
from tests import examples as an
from tests.conftest import TestDatabase
from tests.fakes.helios import Helios
from tests.real.openssh import OpenSsh
from tests.recording import begun
from tests.sending import sender_of
from tests.stage import document

CONTENT = bytes(range(256)) * 12 * 1024  # 3 MiB: several pieces
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "VHPCE11%%THELPES2%%PES#123#034990#00%%" + hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
NAMED_PIECES = 3  # the document is read once for its name, before it is read to be sent
REQUESTED = [flux.TransmissionRequested, flux.TransmissionAttempted]


class DyingHistory(PostgresHistory):
    """A journal that is lost just before one kind of fact, as it is for a process that is killed there."""

    dies_before: type[Fact] | None = None

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        if self.dies_before in {type(event.data) for event in events}:
            self.dies_before = None
            raise UnavailableError("postgresql", "killed")
        return await super().append(events, expected_version=expected_version)


class InterruptedDocuments(DocumentStore):
    """Does something once in the middle of a document that is being sent."""

    interruption: Callable[[], object] | None = None

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        async for chunk in super().stream(sha256):
            yield chunk
            if self.interruption is not None:
                await self.interruption()  # type: ignore[misc]


@dataclass
class Bench:
    """A gateway on real parts, and DGFiP's end of the line.

    Attributes:
        server: where the gateway finds it.
        far: the server itself, which can go and come back.
        arrived: what lies at the other end, or was taken there: each file's name and bytes.
        others: where other services record.
    """

    history: DyingHistory
    others: PostgresHistory
    documents: InterruptedDocuments
    server: SftpServer
    far: Helios | OpenSsh
    arrived: Callable[[], list[tuple[str, bytes]]]
    _channels: list[SftpChannel] = field(default_factory=list)

    def sender(self, **changes: object) -> Sender:
        """Return the gateway of a new process, whose way out may be set otherwise."""
        channel = SftpChannel(replace(self.server, **changes))  # type: ignore[arg-type]
        self._channels.append(channel)
        return sender_of(self.history, self.documents, channel)

    async def signed(self, imported: flux.FluxImported = an.imported) -> Event:
        """Record a flux that is ready to leave, and return its last event."""
        document = await self.documents.put_bytes(CONTENT)
        first = begun(imported)
        validated = first.follow(an.validated_again, actor="validation", at=NOON)
        signed = validated.follow(flux.FluxSigned(document=document, signatures=()), actor="signature", at=NOON)
        return (await self.others.append([first, validated, signed], expected_version=0))[-1]

    async def record(self, facts: Sequence[Fact]) -> UUID:
        """Record a flux that has come so far, as if the gateway had done all of it, and return its id."""
        first = begun(facts[0], actor="gateway")
        events = [first, *(first.follow(fact, actor="gateway", at=NOON) for fact in facts[1:])]
        return (await self.others.append(events, expected_version=0))[-1].flux_id

    async def sent(self, flux_id: UUID) -> list[Fact]:
        """Return what the gateway recorded of a flux."""
        return [event.data for event in await self.history.load(flux_id) if event.actor == "gateway"]

    async def state(self, flux_id: UUID) -> State | None:
        return fold(event.data for event in await self.history.load(flux_id)).state

    async def kill(self) -> None:
        """Cut every connection there is."""
        for channel in self._channels:
            await channel.aclose()


def kinds(facts: Sequence[Fact]) -> list[type[Fact]]:
    return [type(fact) for fact in facts]


async def hear(sender: Sender, event: Event) -> None:
    await sender.on_ready(event, event.data)


@asynccontextmanager
async def to_simulator(folder: Path, file_bytes_max: int = 200 * 1024 * 1024) -> AsyncIterator[tuple[object, ...]]:
    async with Helios(folder, answers=False, file_bytes_max=file_bytes_max) as helios:

        def arrived() -> list[tuple[str, bytes]]:
            return [(one.name, helios.folder.content(one)) for one in helios.folder.waiting()]

        yield helios.server, helios, arrived


@asynccontextmanager
async def to_openssh(folder: Path) -> AsyncIterator[tuple[object, ...]]:
    await asyncio.to_thread(folder.mkdir)
    async with OpenSsh(folder) as sshd:

        def arrived() -> list[tuple[str, bytes]]:
            return [(file.name, file.read_bytes()) for file in (folder / "entree").iterdir() if file.is_file()]

        yield sshd.server, sshd, arrived


@asynccontextmanager
async def bench_on(test_database: TestDatabase, folder: Path, far: object) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(Database(test_database.dsn()))
        database = await stack.enter_async_context(Database(test_database.dsn("heliotrope_gateway")))
        documents = InterruptedDocuments(open_store(f"file://{folder / 'documents'}"))
        parts = await stack.enter_async_context(far)  # type: ignore[arg-type,var-annotated]
        bench = Bench(DyingHistory(database), PostgresHistory(owner), documents, *parts)
        stack.push_async_callback(bench.kill)
        yield bench


@pytest.fixture(params=["simulator", "openssh"])
async def bench(request: pytest.FixtureRequest, test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Bench]:
    far = to_simulator if request.param == "simulator" else to_openssh
    async with bench_on(test_database, tmp_path, far(tmp_path / "dgfip")) as bench:
        yield bench


@pytest.fixture
async def keeper(test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Bench]:
    """Lend a bench whose far end leaves what it received in its entry directory."""
    async with bench_on(test_database, tmp_path, to_openssh(tmp_path / "dgfip")) as bench:
        yield bench


@pytest.fixture
async def taker(test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Bench]:
    """Lend a bench whose far end takes what it received out of its entry directory at once."""
    async with bench_on(test_database, tmp_path, to_simulator(tmp_path / "dgfip")) as bench:
        yield bench


async def test_a_signed_flux_arrives_byte_for_byte_and_is_recorded(bench: Bench) -> None:
    event = await bench.signed()
    await hear(bench.sender(), event)
    assert bench.arrived() == [(NAME, CONTENT)]
    requested, attempted, transmitted = await bench.sent(event.flux_id)
    document = Document(sha256=DIGEST, size=len(CONTENT))
    assert requested == flux.TransmissionRequested(document=document)
    assert isinstance(attempted, flux.TransmissionAttempted)
    assert (attempted.remote_name, attempted.document) == (NAME, document)
    assert transmitted == flux.FluxTransmitted(remote_name=NAME, document=document, evidence="upload")


async def test_a_message_that_comes_again_to_another_process_sends_nothing(bench: Bench) -> None:
    event = await bench.signed()
    await hear(bench.sender(), event)
    await hear(bench.sender(), event)
    assert bench.arrived() == [(NAME, CONTENT)]
    assert await bench.state(event.flux_id) is State.AWAITING_ACK


async def test_while_the_server_is_away_nothing_is_recorded_and_then_it_leaves(bench: Bench) -> None:
    event = await bench.signed()
    sender = bench.sender()
    await bench.far.stop()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await hear(sender, event)
    assert await bench.sent(event.flux_id) == []
    await bench.far.start()
    await hear(sender, event)
    assert bench.arrived() == [(NAME, CONTENT)]


async def test_a_server_restarted_between_two_flux_does_not_lose_the_second(bench: Bench) -> None:
    sender = bench.sender()
    await hear(sender, await bench.signed())
    await bench.far.stop()
    await bench.far.start()
    second = await bench.signed(an.imported.model_copy(update={"document": an.signed_document}))
    await hear(sender, second)
    assert await bench.state(second.flux_id) is State.AWAITING_ACK


async def test_a_server_with_another_key_gets_nothing_and_nothing_is_recorded(bench: Bench, tmp_path: Path) -> None:
    event = await bench.signed()
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    pinned = tmp_path / "pinned"
    pinned.write_text(f"[127.0.0.1]:{bench.server.port} {key}")
    with pytest.raises(UnavailableError, match="not trusted"):
        await hear(bench.sender(known_hosts_file=pinned), event)
    assert bench.arrived() == []
    assert await bench.sent(event.flux_id) == []


async def test_a_server_that_does_not_know_us_gets_nothing_and_nothing_is_recorded(bench: Bench) -> None:
    event = await bench.signed()
    with pytest.raises(UnavailableError, match="Permission denied"):
        await hear(bench.sender(password="wrong", key_file=None), event)
    assert bench.arrived() == []
    assert await bench.sent(event.flux_id) == []


async def test_a_file_cut_in_the_middle_is_sent_again_whole_under_the_same_name(bench: Bench) -> None:
    event = await bench.signed()
    sender = bench.sender()
    await hear_and_lose_the_server_in_the_middle(bench, sender, event)
    assert kinds(await bench.sent(event.flux_id)) == REQUESTED
    assert (NAME, CONTENT) not in bench.arrived()
    await bench.far.start()
    await hear(bench.sender(), event)
    assert bench.arrived() == [(NAME, CONTENT)]
    facts = await bench.sent(event.flux_id)
    assert kinds(facts) == [*REQUESTED, flux.TransmissionAttempted, flux.FluxTransmitted]
    assert {fact.remote_name for fact in facts if isinstance(fact, flux.TransmissionAttempted)} == {NAME}


async def hear_and_lose_the_server_in_the_middle(bench: Bench, sender: Sender, event: Event) -> None:
    pieces = 0

    async def stop_at_the_second_piece() -> None:
        nonlocal pieces
        pieces += 1
        if pieces > NAMED_PIECES + 1:
            await bench.far.stop()

    bench.documents.interruption = stop_at_the_second_piece
    with pytest.raises(UnavailableError):
        await hear(sender, event)
    bench.documents.interruption = None


async def test_killed_after_the_upload_the_file_found_on_the_server_is_the_proof(keeper: Bench) -> None:
    event = await keeper.signed()
    keeper.history.dies_before = flux.FluxTransmitted
    with pytest.raises(UnavailableError):
        await hear(keeper.sender(), event)
    await keeper.kill()
    assert keeper.arrived() == [(NAME, CONTENT)]
    assert kinds(await keeper.sent(event.flux_id)) == REQUESTED
    await hear(keeper.sender(), event)
    facts = await keeper.sent(event.flux_id)
    assert kinds(facts) == [*REQUESTED, flux.FluxTransmitted]
    assert isinstance(facts[-1], flux.FluxTransmitted)
    assert facts[-1].evidence == "found_on_server"


async def test_killed_after_the_upload_and_the_file_taken_it_is_in_doubt_and_never_sent_again(taker: Bench) -> None:
    event = await taker.signed()
    taker.history.dies_before = flux.FluxTransmitted
    with pytest.raises(UnavailableError):
        await hear(taker.sender(), event)
    await taker.kill()
    for _ in range(2):
        await hear(taker.sender(), event)
    assert taker.arrived() == [(NAME, CONTENT)]
    assert kinds(await taker.sent(event.flux_id)) == [*REQUESTED, flux.TransmissionHeld]


async def test_a_server_that_is_full_has_refused_and_is_tried_later(
    test_database: TestDatabase, tmp_path: Path
) -> None:
    full = to_simulator(tmp_path / "dgfip", file_bytes_max=len(CONTENT) // 2)
    async with bench_on(test_database, tmp_path, full) as bench:
        event = await bench.signed()
        await hear(bench.sender(), event)
        assert bench.arrived() == []
        assert isinstance(bench.far, Helios)
        assert list(bench.far.entry.iterdir()) == []
        await assert_it_is_tried_later(bench, event)


async def test_a_server_that_forbids_the_file_has_refused_and_is_tried_later(keeper: Bench) -> None:
    event = await keeper.signed()
    assert isinstance(keeper.far, OpenSsh)
    (keeper.far.folder / "entree" / NAME).mkdir()  # so that it cannot be written, whoever we are there
    await hear(keeper.sender(), event)
    await assert_it_is_tried_later(keeper, event)


async def test_a_flux_that_a_newer_version_wrote_to_keeps_no_other_hold_from_ending(
    taker: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = an.held.model_copy(update={"until": NOON})
    refused = [an.signed, an.requested, an.attempted, an.failed, over]
    written_to = await taker.record(
        [
            document(1),
            an.validated_again,
            an.signature_requested,
            an.signature_refused,
            an.signature_restarted,
            *refused,
        ]
    )
    other = await taker.record([document(2), an.validated_again, *refused])
    sender = taker.sender()
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(flux.SignatureRestarted))
        await sender.review_holds_once()
        assert kinds(await taker.sent(other))[-1] is flux.TransmissionReleased
    assert kinds(await taker.sent(written_to))[-1] is flux.TransmissionHeld
    await sender.review_holds_once()
    assert kinds(await taker.sent(written_to))[-1] is flux.TransmissionReleased


async def assert_it_is_tried_later(bench: Bench, event: Event) -> None:
    facts = await bench.sent(event.flux_id)
    assert kinds(facts) == [*REQUESTED, flux.TransmissionFailed, flux.TransmissionHeld]
    assert isinstance(facts[-1], flux.TransmissionHeld)
    assert facts[-1].until is not None
    assert facts[-1].until > NOON

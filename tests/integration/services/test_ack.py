"""Collecting over real SFTP into a real journal: each reply once, whole, recorded, then moved; to the right flux."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import asyncssh
import pytest

from pes.reading.xml import parse, value_at
from services.ack.adapters.sftp import SftpReplies
from services.ack.collector import Collector
from services.gateway.adapters.sftp import SftpChannel
from services.gateway.handler import Sender
from services.simulator.acquit import DEPENSE, Element, Error, write_acquit
from services.simulator.adapters import sftp as simulator_sftp
from shared.bus.consumer import Attempts, Outcome, Subscription
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
from tests.real.platform import sample
from tests.recording import begun
from tests.sending import sender_of

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
MEBIBYTE = 1024 * 1024
PES = sample(1, is_dematerialised=False)
NAME = "034990_260202120000-ACK-1.xml"
ACK = Element(DEPENSE, number="100", exercice="2026")
NACK = Element(DEPENSE, number="100", exercice="2026", errors=(Error("TS42", "Tiers inconnu"),))
ANSWER = [flux.ReplyReceived, flux.FluxAcknowledged]


def answer_to(pes: bytes, element: Element = ACK) -> bytes:
    return write_acquit(parse(pes), "flux.xml", [element])


class WatchedHistory(PostgresHistory):
    """A journal at whose appends something else may happen first, or after; once."""

    before_transmitted: Callable[[], Awaitable[None]] | None = None
    after_reply: Callable[[], Awaitable[None]] | None = None

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        kinds = {type(event.data) for event in events}
        if flux.FluxTransmitted in kinds and self.before_transmitted is not None:
            happen, self.before_transmitted = self.before_transmitted, None
            await happen()
        recorded = await super().append(events, expected_version=expected_version)
        if flux.ReplyReceived in kinds and self.after_reply is not None:
            happen, self.after_reply = self.after_reply, None
            await happen()
        return recorded


@dataclass
class Bench:
    """An `ack`, a `gateway`, and a local Hélios to which both are connected.

    Attributes:
        history: what `ack` records, as itself; `sending`: what `gateway` does; `others`: what any service does.
    """

    history: WatchedHistory
    sending: WatchedHistory
    others: PostgresHistory
    documents: DocumentStore
    helios: Helios
    server: SftpServer
    _opened: list[SftpReplies | SftpChannel] = field(default_factory=list)

    def collector(self, *, bytes_max: int = 200 * MEBIBYTE, **changes: object) -> Collector:
        """Return the collector of a new process, whose way in may be set otherwise."""
        replies = SftpReplies(replace(self.server, **changes))  # type: ignore[arg-type]
        self._opened.append(replies)
        return Collector(
            replies,
            self.documents,
            self.history,
            now=lambda: NOON,
            done_directory="/traite",
            poll_seconds=0.01,
            settle_seconds=0.01,
            bytes_max=bytes_max,
        )

    def sender(self) -> Sender:
        """Return the gateway of a new process."""
        channel = SftpChannel(self.server)
        self._opened.append(channel)
        return sender_of(self.sending, self.documents, channel)

    async def ready(self, pes: bytes = PES) -> Event:
        """Record a flux that may leave as it was imported, and return its last event."""
        document = await self.documents.put_bytes(pes)
        header = an.header.model_copy(update={"nomfic": value_at(parse(pes), "Enveloppe/Parametres/NomFic")})
        first = begun(flux.FluxImported(document=document, filename="flux.xml"))
        validated = first.follow(
            an.validated_unsigned.model_copy(update={"header": header, "bordereaux": (), "nomfic_is_reused": True}),
            actor="validation",
            at=NOON,
        )
        return (await self.others.append([first, validated], expected_version=0))[-1]

    async def in_flight(self, pes: bytes = PES) -> Event:
        """Record a flux whose sending is under way, and return its last event."""
        ready = await self.ready(pes)
        document = await self.documents.put_bytes(pes)
        attempt = an.attempted.model_copy(update={"document": document})
        events = [ready.follow(flux.TransmissionRequested(document=document), actor="gateway", at=NOON)]
        events.append(events[0].follow(attempt, actor="gateway", at=NOON))
        return (await self.others.append(events, expected_version=2))[-1]

    async def sent(self, pes: bytes = PES) -> UUID:
        """Record a flux that was sent, and return its id."""
        attempted = await self.in_flight(pes)
        assert isinstance(attempted.data, flux.TransmissionAttempted)
        transmitted = flux.FluxTransmitted(remote_name=an.remote_name, document=attempted.data.document)
        await self.others.append([attempted.follow(transmitted, actor="gateway", at=NOON)], expected_version=4)
        return attempted.flux_id

    def put(self, name: str, content: bytes, modified_at: int | None = None) -> None:
        """Have a file appear in the reply directory, or grow."""
        file = self.helios.replies / name
        file.write_bytes(content)
        if modified_at is not None:
            os.utime(file, (modified_at, modified_at))

    async def answers(self, flux_id: UUID) -> list[type[Fact]]:
        """Return the kinds of what DGFiP said of a flux."""
        return [type(event.data) for event in await self.history.load(flux_id) if event.actor == "dgfip"]

    async def state(self, flux_id: UUID) -> State | None:
        return fold(event.data for event in await self.history.load(flux_id)).state

    @property
    def done(self) -> Path:
        """Where recorded replies go."""
        return self.helios.replies.parent / "traite"

    async def aclose(self) -> None:
        for opened in self._opened:
            await opened.aclose()


@pytest.fixture
async def bench(test_database: TestDatabase, database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        logins = [Database(test_database.dsn(login)) for login in ("heliotrope_ack", "heliotrope_gateway")]
        own, sending = [WatchedHistory(await stack.enter_async_context(login)) for login in logins]
        helios = await stack.enter_async_context(Helios(tmp_path / "dgfip"))
        documents = DocumentStore(open_store(f"file://{tmp_path / 'documents'}"))
        bench = Bench(own, sending, PostgresHistory(database), documents, helios, helios.server)
        stack.push_async_callback(bench.aclose)
        yield bench


async def collect(collector: Collector) -> None:
    """List once to see what is there, again to see that it is stable, and take it."""
    await collector.collect()
    await collector.collect()


async def test_a_flux_sent_to_helios_comes_back_acknowledged(bench: Bench) -> None:
    event = await bench.ready()
    await bench.sender().on_ready(event, event.data)
    (reply,) = await bench.helios.next_replies()
    content = await asyncio.to_thread(reply.read_bytes)
    await collect(bench.collector())
    assert await bench.answers(event.flux_id) == ANSWER
    assert await bench.state(event.flux_id) is State.ACKNOWLEDGED
    assert not reply.exists()
    assert (bench.done / reply.name).read_bytes() == content
    received = (await bench.history.load(event.flux_id))[-2].data
    assert isinstance(received, flux.ReplyReceived)
    assert await bench.documents.read(received.document.sha256) == content


async def test_a_reply_may_come_before_its_sending_is_recorded(bench: Bench) -> None:
    event = await bench.ready()
    collector = bench.collector()

    async def let_the_answer_be_first() -> None:
        await bench.helios.next_replies()
        await collect(collector)

    bench.sending.before_transmitted = let_the_answer_be_first
    gateway = Attempts(Subscription("gateway", {flux.FluxValidated: bench.sender().on_ready}))
    assert (await gateway.attempt("message", event.to_bytes())).outcome is Outcome.DONE
    kinds = [type(past.data) for past in await bench.history.load(event.flux_id)]
    assert kinds[-4:] == [flux.TransmissionAttempted, *ANSWER, flux.FluxTransmitted]
    assert await bench.state(event.flux_id) is State.ACKNOWLEDGED
    assert len(bench.helios.folder.receipts()) == 1


async def test_of_two_flux_that_differ_in_their_bytes_alone_the_second_answer_is_left_to_a_person(
    bench: Bench, database: Database
) -> None:
    sent = []
    for pes in (PES, PES.replace(b"</n:PES_Aller>", b"\n</n:PES_Aller>")):
        event = await bench.ready(pes)
        await bench.sender().on_ready(event, event.data)
        await bench.helios.next_replies()
        await collect(bench.collector())
        sent.append(event.flux_id)
    assert await bench.answers(sent[0]) == ANSWER
    assert await bench.state(sent[1]) is State.AWAITING_ACK  # it may be the first one's, which came again
    (reason,) = await unmatched(database)
    assert all(str(flux_id) in reason for flux_id in sent)


async def test_a_reply_that_comes_twice_is_recorded_once_under_whatever_name(bench: Bench) -> None:
    flux_id = await bench.sent()
    for name in (NAME, NAME, "again.xml"):
        bench.put(name, answer_to(PES))
        await collect(bench.collector())
    assert await bench.answers(flux_id) == ANSWER
    assert list(bench.helios.replies.iterdir()) == []


async def test_a_second_different_reply_is_kept_and_changes_nothing(bench: Bench) -> None:
    flux_id = await bench.sent()
    for name, element in ((NAME, ACK), ("later.xml", NACK)):
        bench.put(name, answer_to(PES, element))
        await collect(bench.collector())
    assert await bench.answers(flux_id) == [*ANSWER, flux.ReplyReceived]
    assert await bench.state(flux_id) is State.ACKNOWLEDGED


async def test_two_different_replies_in_one_pass_are_taken_oldest_first(bench: Bench) -> None:
    flux_id = await bench.sent()
    bench.put("b.xml", answer_to(PES, NACK), modified_at=1_000)
    bench.put("a.xml", answer_to(PES, ACK), modified_at=2_000)
    await collect(bench.collector())
    assert await bench.answers(flux_id) == [flux.ReplyReceived, flux.FluxRejected, flux.ReplyReceived]


async def test_two_collectors_at_once_record_a_reply_once(bench: Bench) -> None:
    flux_id = await bench.sent()
    bench.put(NAME, answer_to(PES))
    await asyncio.gather(collect(bench.collector()), collect(bench.collector()))
    await collect(bench.collector())
    assert await bench.answers(flux_id) == ANSWER
    assert [file.name for file in bench.done.iterdir()] == [NAME]


async def test_a_reply_for_no_flux_is_kept_explained_and_moved(bench: Bench, database: Database) -> None:
    content = answer_to(PES)
    bench.put(NAME, content)
    await collect(bench.collector())
    (reason,) = await unmatched(database)
    assert value_at(parse(PES), "Enveloppe/Parametres/NomFic") in reason
    assert (bench.done / NAME).read_bytes() == content


async def test_a_reply_to_a_flux_that_a_newer_version_wrote_to_waits_and_stops_no_other(
    bench: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sample(2, is_dematerialised=False)
    written_to, in_flight = await bench.sent(), (await bench.in_flight(other)).flux_id
    bench.put("a.xml", answer_to(PES))
    bench.put("b.xml", answer_to(other))
    collector = bench.collector()
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(flux.FluxTransmitted))
        await collect(collector)
        await collector.collect()
        assert await bench.answers(in_flight) == ANSWER
    assert await bench.answers(written_to) == []
    assert await unmatched(database) == []
    assert [file.name for file in bench.helios.replies.iterdir()] == ["a.xml"]
    await collector.collect()
    assert await bench.answers(written_to) == ANSWER
    assert list(bench.helios.replies.iterdir()) == []


async def test_names_of_any_bytes_are_collected(bench: Bench, database: Database) -> None:
    for number, name in enumerate((b"r\xe9ponse.xml", b"VHPCE11%%THELPES2%%PES#1.xml", b"a\nb c.xml")):
        bench.put(os.fsdecode(name), b"<a>%d</a>" % number)
    await collect(bench.collector())
    assert len(await unmatched(database)) == 3
    assert len(list(bench.done.iterdir())) == 3


async def test_a_file_that_grows_is_not_taken_before_it_is_whole(bench: Bench) -> None:
    flux_id = await bench.sent()
    content = answer_to(PES)
    collector = bench.collector()
    for length in (100, 200, len(content)):
        bench.put(NAME, content[:length])
        await collector.collect()
        assert await bench.answers(flux_id) == []
    await collector.collect()
    assert await bench.answers(flux_id) == ANSWER


async def test_a_server_lost_before_the_move_has_the_reply_recorded_once(bench: Bench) -> None:
    flux_id = await bench.sent()
    bench.put(NAME, answer_to(PES))
    bench.history.after_reply = bench.helios.stop
    collector = bench.collector()
    with pytest.raises(UnavailableError):
        await collect(collector)
    assert await bench.answers(flux_id) == ANSWER
    assert (bench.helios.replies / NAME).exists()
    await bench.helios.start()
    await collect(bench.collector())
    assert await bench.answers(flux_id) == ANSWER
    assert list(bench.helios.replies.iterdir()) == []


async def test_a_server_that_goes_and_comes_back_is_waited_for(bench: Bench) -> None:
    flux_id = await bench.sent()
    collector = bench.collector()
    await bench.helios.stop()
    running = asyncio.create_task(collector.run())
    async with asyncio.timeout(30):
        while collector.waits_for() != ["sftp"]:
            await asyncio.sleep(0.01)
        await bench.helios.start()
        bench.put(NAME, answer_to(PES))
        while not (bench.done / NAME).exists():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert await bench.answers(flux_id) == ANSWER


async def test_a_server_with_another_key_is_not_read(bench: Bench, tmp_path: Path) -> None:
    flux_id = await bench.sent()
    bench.put(NAME, answer_to(PES))
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    pinned = tmp_path / "pinned"
    pinned.write_text(f"[127.0.0.1]:{bench.server.port} {key}")
    with pytest.raises(UnavailableError, match="not trusted"):
        await collect(bench.collector(known_hosts_file=pinned))
    assert await bench.answers(flux_id) == []


async def test_a_server_that_does_not_know_us_is_unavailable(bench: Bench) -> None:
    with pytest.raises(UnavailableError, match="Permission denied"):
        await collect(bench.collector(password="wrong"))


async def test_a_reply_of_150_mb_is_kept_whole(bench: Bench, database: Database) -> None:
    """No two parts of it are alike: one that is lost, twice or elsewhere makes another file."""
    head = b'<n:PES_Retour xmlns:n="http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour">'
    content = b"".join([head, *(b'<Ligne V="%035d"/>' % number for number in range(3_000_000)), b"</n:PES_Retour>"])
    bench.put("PES2R_DEP.xml", content)
    await collect(bench.collector())
    (reason,) = await unmatched(database)
    assert "PES Retour" in reason
    row = (await database.fetch("select body::jsonb #> '{data,document}' as document from journal limit 1"))[0]
    kept = Document.model_validate_json(row["document"])
    assert (kept.size, kept.sha256) == (len(content), sha256(content).hexdigest())
    assert await bench.documents.read(kept.sha256) == content
    assert (bench.done / "PES2R_DEP.xml").read_bytes() == content


async def test_a_listing_of_thousands_hides_nothing_and_stops_nothing(bench: Bench) -> None:
    flux_id = await bench.sent()
    for number in range(5_000):
        bench.put(f"empty-{number}.xml", b"")
    bench.put(NAME, answer_to(PES))
    await collect(bench.collector())
    assert await bench.answers(flux_id) == ANSWER
    assert len(list(bench.helios.replies.iterdir())) == 5_000


async def test_a_listing_may_take_longer_than_one_answer_may(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = simulator_sftp._Session.scandir

    async def slow(self: simulator_sftp._Session, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in quick(self, path):
            await asyncio.sleep(0.001)
            yield entry

    monkeypatch.setattr(simulator_sftp._Session, "scandir", slow)
    for number in range(2_500):
        bench.put(f"empty-{number}.xml", b"")
    collector = bench.collector(operation_seconds_max=2.0)
    assert not await collector.collect()


async def test_a_reply_larger_than_the_bound_stays_where_it_is(bench: Bench, database: Database) -> None:
    bench.put(NAME, b"x" * 2000)
    await collect(bench.collector(bytes_max=1000))
    assert await unmatched(database) == []
    assert (bench.helios.replies / NAME).exists()


async def unmatched(database: Database) -> list[str]:
    """Return why replies were not matched, in order."""
    rows = await database.fetch(
        "select body::jsonb #>> '{data,reason}' as reason from journal where kind = $1 order by position",
        kind_of(flux.ReplyUnmatched),
    )
    return [row["reason"] for row in rows]

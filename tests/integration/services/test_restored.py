"""A platform whose database was restored from a backup, with the commands of the manual: nothing leaves twice."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.postgres.server import LocalPostgres
from pes.reading.xml import parse, value_at
from services.ack.adapters.sftp import SftpReplies
from services.ack.collector import Collector
from services.gateway.adapters.sftp import SftpChannel
from shared.facts import flux
from shared.facts.envelope import Event
from shared.facts.lifecycles.flux import Flux, State, fold
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.journal.schema import migrate
from shared.runtime.documents import DocumentStore, open_store
from tests import examples as an
from tests.conftest import TestDatabase
from tests.fakes.helios import Helios
from tests.real.platform import sample
from tests.recording import NOON, begun
from tests.restoring import empty_database, restore, save
from tests.sending import sender_of

PES = sample(1, is_dematerialised=False)


@dataclass
class Platform:
    """A `gateway` and an `ack` on one database; the documents and DGFiP are the same for both databases.

    Attributes:
        dsn: of the owner of the database.
    """

    dsn: str
    history: PostgresHistory
    documents: DocumentStore
    helios: Helios
    channel: SftpChannel
    replies: SftpReplies

    async def hear(self, event: Event) -> None:
        """Deliver an event to a new process of `gateway`."""
        await sender_of(self.history, self.documents, self.channel).on_ready(event, event.data)

    async def collect(self) -> None:
        """Let `ack` list twice, to see that the replies are stable, and take them."""
        collector = Collector(
            self.replies,
            self.documents,
            self.history,
            now=lambda: NOON,
            done_directory="/traite",
            poll_seconds=0.01,
            settle_seconds=0.01,
            bytes_max=2**20,
        )
        await collector.collect()
        await collector.collect()

    async def flux(self, event: Event) -> Flux:
        return fold(past.data for past in await self.history.load(event.flux_id))

    async def signed(self) -> Event:
        """Record a flux that is ready to leave, and return its last event."""
        document = await self.documents.put_bytes(PES)
        header = an.header.model_copy(update={"nomfic": value_at(parse(PES), "Enveloppe/Parametres/NomFic")})
        first = begun(an.imported)
        validated = first.follow(an.validated.model_copy(update={"header": header}), actor="validation", at=NOON)
        signed = validated.follow(flux.FluxSigned(document=document, signatures=()), actor="signature", at=NOON)
        return (await self.history.append([first, validated, signed], expected_version=0))[-1]


@pytest.fixture
async def platforms(test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[tuple[Platform, Platform]]:
    """Lend a platform, and the one that its backup will be restored to."""
    server = LocalPostgres(tmp_path / "elsewhere")
    async with AsyncExitStack() as stack:
        stack.enter_context(server)
        helios = await stack.enter_async_context(Helios(tmp_path / "dgfip"))
        documents = DocumentStore(open_store(f"file://{tmp_path / 'documents'}"))
        made = []
        for dsn in (test_database.dsn(), empty_database(server)):
            history = PostgresHistory(await stack.enter_async_context(Database(dsn)))
            channel, replies = SftpChannel(helios.server), SftpReplies(helios.server)
            stack.push_async_callback(channel.aclose)
            stack.push_async_callback(replies.aclose)
            made.append(Platform(dsn, history, documents, helios, channel, replies))
        yield made[0], made[1]


async def test_what_left_after_the_backup_is_held_and_its_reply_ends_it(
    platforms: tuple[Platform, Platform], tmp_path: Path
) -> None:
    before, after = platforms
    event = await before.signed()
    await asyncio.to_thread(save, before.dsn, tmp_path)
    await before.hear(event)
    (reply,) = await before.helios.next_replies()
    await before.collect()
    assert (await before.flux(event)).state is State.ACKNOWLEDGED

    await asyncio.to_thread(restore, after.dsn, tmp_path)
    await migrate(after.dsn)
    assert (await after.flux(event)).state is State.READY
    for _ in range(2):
        await after.hear(event)
    restored = await after.flux(event)
    assert restored.on_screen == "Envoi suspendu"
    assert restored.held is not None
    assert restored.attempt is not None
    assert "restaurée" in restored.held.cause
    assert restored.attempt.remote_name in restored.held.cause

    done = reply.parent.parent / "traite" / reply.name
    await asyncio.to_thread(shutil.move, done, reply)
    await after.collect()
    await after.hear(event)
    assert (await after.flux(event)).state is State.ACKNOWLEDGED
    assert len(after.helios.folder.receipts()) == 1


async def test_what_had_left_before_the_backup_is_not_held(
    platforms: tuple[Platform, Platform], tmp_path: Path
) -> None:
    before, after = platforms
    event = await before.signed()
    await before.hear(event)
    await asyncio.to_thread(save, before.dsn, tmp_path)
    await asyncio.to_thread(restore, after.dsn, tmp_path)
    await migrate(after.dsn)
    await after.hear(event)
    assert (await after.flux(event)).state is State.AWAITING_ACK
    assert len(after.helios.folder.receipts()) == 1

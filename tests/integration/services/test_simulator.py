"""The local Hélios over real SFTP: what it takes, what it answers, what it never does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncssh
import pytest

from services.ack.acquit import read_reply
from tests.fakes.helios import LOGIN, PASSWORD, Helios
from tests.real.platform import sample


@asynccontextmanager
async def client(helios: Helios) -> AsyncIterator[asyncssh.SFTPClient]:
    async with (
        asyncssh.connect(
            "127.0.0.1",
            helios.port,
            username=LOGIN,
            password=PASSWORD,
            known_hosts=str(helios.known_hosts),
            client_keys=None,
            agent_path=None,
            config=None,
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        yield sftp


@pytest.fixture
async def helios(tmp_path: Path) -> AsyncIterator[Helios]:
    async with Helios(tmp_path) as helios:
        yield helios


async def put(sftp: asyncssh.SFTPClient, name: str, content: bytes) -> None:
    async with sftp.open(f"/entree/{name}", "wb") as file:
        await file.write(content)


async def test_a_paper_flux_is_acknowledged_and_taken_out_of_the_entry(helios: Helios) -> None:
    async with client(helios) as sftp:
        await put(sftp, "flux.xml", sample(1, is_dematerialised=False))
        (reply,) = await helios.next_replies()
        assert read_reply(reply.read_bytes(), reply.name).verdict == "acknowledged"
        assert await sftp.listdir("/entree") == []


async def test_a_flux_that_should_be_signed_and_is_not_is_refused(helios: Helios) -> None:
    async with client(helios) as sftp:
        await put(sftp, "flux.xml", sample(1))
        (reply,) = await helios.next_replies()
    assert read_reply(reply.read_bytes(), reply.name).verdict == "rejected"


async def test_a_listing_leaves_out_what_vanishes_meanwhile(helios: Helios) -> None:
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            for name in ("one.xml", "two.xml"):
                (helios.replies / f".{name}").write_bytes(b"<a/>")
                (helios.replies / f".{name}").rename(helios.replies / name)
                (helios.replies / name).unlink()

    moving = asyncio.create_task(asyncio.to_thread(come_and_go))
    seen: set[str] = set()
    try:
        async with client(helios) as sftp, asyncio.timeout(60):
            listings = 0
            while listings < 300 or not seen:
                seen.update(await sftp.listdir("/sortie"))
                listings += 1
    finally:
        is_over.set()
        await moving
    assert seen <= {"one.xml", "two.xml", ".one.xml", ".two.xml"}


async def test_a_file_that_is_cut_off_is_not_received(helios: Helios) -> None:
    with suppress(asyncssh.Error):
        async with client(helios) as sftp:
            file = await sftp.open("/entree/flux.xml", "wb")
            await file.write(sample(1)[:5000])
            sftp.exit()
    async with client(helios) as sftp:
        assert await sftp.listdir("/entree") == ["flux.xml"]
    assert helios.folder.receipts() == []


async def test_what_was_received_is_counted_by_its_bytes(helios: Helios) -> None:
    content = sample(1, is_dematerialised=False)
    async with client(helios) as sftp:
        for name in ("a.xml", "b.xml"):
            await put(sftp, name, content)
        await helios.next_replies(2)
    assert len({receipt.sha256 for receipt in helios.folder.receipts()}) == 1
    assert len(helios.folder.receipts()) == 2


async def test_nothing_outside_its_folder_can_be_reached(helios: Helios) -> None:
    async with client(helios) as sftp:
        for path in ("/../host_key", "/entree/../../host_key"):
            with pytest.raises(asyncssh.SFTPError):
                async with sftp.open(path, "rb") as file:
                    await file.read()

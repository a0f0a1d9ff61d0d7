"""The local Hélios over real SFTP: what it takes, what it answers, what it never does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import httpx
import pytest

from services.ack.acquit import read_reply
from services.simulator.adapters.folder import Folder
from services.simulator.api import routes
from services.simulator.handler import Guichet
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from tests.callers import bearer, checker
from tests.fakes.helios import Helios
from tests.real.platform import sample


@pytest.fixture
async def helios(tmp_path: Path) -> AsyncIterator[Helios]:
    async with Helios(tmp_path) as helios:
        yield helios


async def put(sftp: asyncssh.SFTPClient, name: str, content: bytes) -> None:
    async with sftp.open(f"/entree/{name}", "wb") as file:
        await file.write(content)


async def test_a_paper_flux_is_acknowledged_and_taken_out_of_the_entry(helios: Helios) -> None:
    async with helios.client() as sftp:
        await put(sftp, "flux.xml", sample(1, is_dematerialised=False))
        (reply,) = await helios.next_replies()
        assert read_reply(reply.read_bytes(), reply.name).verdict == "acknowledged"
        assert await sftp.listdir("/entree") == []


async def test_a_flux_that_should_be_signed_and_is_not_is_refused(helios: Helios) -> None:
    async with helios.client() as sftp:
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
        async with helios.client() as sftp, asyncio.timeout(60):
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
        async with helios.client() as sftp:
            file = await sftp.open("/entree/flux.xml", "wb")
            await file.write(sample(1)[:5000])
            sftp.exit()
    async with helios.client() as sftp:
        assert await sftp.listdir("/entree") == ["flux.xml"]
    assert helios.folder.receipts() == []


async def test_what_was_received_is_counted_by_its_bytes(helios: Helios) -> None:
    content = sample(1, is_dematerialised=False)
    async with helios.client() as sftp:
        for name in ("a.xml", "b.xml"):
            await put(sftp, name, content)
        await helios.next_replies(2)
    assert len({receipt.sha256 for receipt in helios.folder.receipts()}) == 1
    assert len(helios.folder.receipts()) == 2


async def test_nothing_outside_its_folder_can_be_reached(helios: Helios) -> None:
    async with helios.client() as sftp:
        for path in ("/../host_key", "/entree/../../host_key"):
            with pytest.raises(asyncssh.SFTPError):
                async with sftp.open(path, "rb") as file:
                    await file.read()


@pytest.mark.parametrize(
    ("who", "looking", "choosing"),
    [
        (bearer("*", role=Role.OPERATOR), 200, 200),
        (bearer(role=Role.OPERATOR), 200, 403),
        (bearer(role=Role.AUDITEUR), 200, 403),
        ({}, 401, 401),
    ],
)
async def test_whoever_reads_somewhere_looks_on_and_an_operator_chooses(
    tmp_path: Path, who: dict[str, str], looking: int, choosing: int
) -> None:
    folder = Folder(tmp_path)
    guichet = Guichet(folder)
    app = service_app("simulator", "", checks={})
    app.include_router(routes(guichet, folder, caller=caller_dependency(checker())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://simulator") as http:
        for path in ("/v1/scenario", "/v1/receipts"):
            assert (await http.get(path, headers=who)).status_code == looking
        assert (await http.put("/v1/scenario", json={"delay_seconds": 5}, headers=who)).status_code == choosing
    assert guichet.scenario.delay_seconds == (5 if choosing == 200 else 0)

"""The simulator's folder and guichet: what is received is counted once, whatever happens."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from pes.sample import SampleSpec, build_sample
from services.simulator.adapters.folder import Folder
from services.simulator.handler import Guichet
from services.simulator.ports import Reception, Scenario

FLUX = build_sample(SampleSpec(is_dematerialised=False))
NAME = "VHPCE11%%THELPES2%%PES#123#034990#00%%" + hashlib.sha1(FLUX, usedforsecurity=False).hexdigest()


class WatchedFolder(Folder):
    """A folder that tells when a file is done with."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.forgotten = asyncio.Semaphore(0)
        self.loop: asyncio.AbstractEventLoop | None = None

    def forget(self, reception: Reception) -> None:
        super().forget(reception)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.forgotten.release)


@pytest.fixture
def folder(tmp_path: Path) -> WatchedFolder:
    return WatchedFolder(tmp_path)


def write(folder: Folder, content: bytes = FLUX, name: str = NAME) -> None:
    (folder.sftp / "entree" / name).write_bytes(content)


def replies(folder: WatchedFolder) -> list[str]:
    return sorted(file.name for file in (folder.sftp / "sortie").iterdir())


async def work(folder: WatchedFolder, scenario: Scenario = Scenario()) -> None:  # noqa: B008  # frozen
    """Have a guichet answer whatever waits."""
    count = len(folder.waiting())
    folder.loop = asyncio.get_running_loop()
    guichet = Guichet(folder)
    guichet.scenario = scenario
    running = asyncio.create_task(guichet.run())
    async with asyncio.timeout(60):
        for _ in range(count):
            await folder.forgotten.acquire()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_received_file_gets_a_receipt_and_an_answer(folder: WatchedFolder) -> None:
    write(folder)
    reception = folder.take(NAME)
    assert reception is not None
    assert list((folder.sftp / "entree").iterdir()) == []
    await work(folder)
    receipt = folder.receipts()[0]
    assert (receipt.name, receipt.sha256, receipt.size) == (NAME, hashlib.sha256(FLUX).hexdigest(), len(FLUX))
    assert [name[:7] for name in replies(folder)] == ["034990_"]
    assert "-ACK-" in replies(folder)[0]


async def test_a_file_received_before_a_crash_is_answered_after_it_and_counted_once(folder: WatchedFolder) -> None:
    write(folder)
    reception = folder.take(NAME)
    assert reception is not None
    Guichet(folder)._receive(reception, Scenario())  # a receipt, then kill -9 before the answer
    again = WatchedFolder(folder.sftp.parent)
    await work(again)
    assert len(again.receipts()) == 1
    assert len(replies(again)) == 1


async def test_a_receipt_cut_short_by_a_crash_is_written_again(folder: WatchedFolder) -> None:
    for _ in range(2):
        write(folder)
        folder.take(NAME)
    await work(folder)
    file = folder.sftp.parent / "receipts.jsonl"
    file.write_bytes(file.read_bytes()[:-10])
    write(folder)
    again = WatchedFolder(folder.sftp.parent)
    again.take(NAME)
    await work(again)
    assert len(Folder(folder.sftp.parent).receipts()) == 2


async def test_a_file_sent_twice_is_counted_twice(folder: WatchedFolder) -> None:
    for _ in range(2):
        write(folder)
        folder.take(NAME)
    await work(folder)
    assert [receipt.sha256 for receipt in folder.receipts()] == [hashlib.sha256(FLUX).hexdigest()] * 2


async def test_silence_leaves_a_receipt_only(folder: WatchedFolder) -> None:
    write(folder)
    folder.take(NAME)
    await work(folder, Scenario(reply="silent"))
    assert len(folder.receipts()) == 1
    assert replies(folder) == []


async def test_a_refusal_says_so_in_its_name(folder: WatchedFolder) -> None:
    write(folder, b"<truncated", "any.xml")
    folder.take("any.xml")
    await work(folder)
    assert replies(folder)[0].startswith("000000_")
    assert replies(folder)[0].endswith("_KO.xml")


def test_a_file_left_in_the_entry_is_complete_when_its_name_proves_it(folder: WatchedFolder) -> None:
    write(folder)
    write(folder, FLUX[:-1], "x%%" + "0" * 40)
    write(folder, FLUX, "no-digest.xml")
    assert folder.complete_ones() == [NAME]


def test_nothing_is_received_that_is_not_there(folder: WatchedFolder) -> None:
    assert folder.take(NAME) is None
    assert folder.waiting() == []

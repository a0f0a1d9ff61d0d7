"""The simulator's folder and desk: what is received is counted once, whatever happens."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from cli.pes_sample import SampleSpec, build_sample
from services.simulator.adapters.folder import Folder
from services.simulator.handler import Desk
from services.simulator.ports import Scenario

FLUX = build_sample(SampleSpec(is_dematerialised=False))
NAME = "VHPCE11%%THELPES2%%PES#123#034990#00%%" + hashlib.sha1(FLUX, usedforsecurity=False).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def write(folder: Folder, content: bytes = FLUX, name: str = NAME) -> None:
    (folder.sftp / "entree" / name).write_bytes(content)


def replies(folder: Folder) -> list[str]:
    return sorted(file.name for file in (folder.sftp / "sortie").iterdir())


async def work(desk: Desk, folder: Folder) -> None:
    """Let the desk run until nothing waits."""
    running = asyncio.create_task(desk.run())
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
        while any((folder.sftp.parent / "work").iterdir()):  # not `waiting`, which tidies up as it looks
            await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_received_file_gets_a_receipt_and_an_answer(folder: Folder) -> None:
    write(folder)
    reception = folder.take(NAME)
    assert reception is not None
    assert list((folder.sftp / "entree").iterdir()) == []
    await work(Desk(folder), folder)
    receipt = folder.receipts()[0]
    assert (receipt.name, receipt.sha256, receipt.size) == (NAME, hashlib.sha256(FLUX).hexdigest(), len(FLUX))
    assert [name[:7] for name in replies(folder)] == ["034990_"]
    assert "-ACK-" in replies(folder)[0]


async def test_a_file_received_before_a_crash_is_answered_after_it_and_counted_once(folder: Folder) -> None:
    write(folder)
    reception = folder.take(NAME)
    assert reception is not None
    Desk(folder)._receive(reception, Scenario())  # a receipt, then kill -9 before the answer
    again = Folder(folder.sftp.parent)
    await work(Desk(again), again)
    assert len(again.receipts()) == 1
    assert len(replies(again)) == 1


async def test_a_receipt_cut_short_by_a_crash_is_written_again(folder: Folder) -> None:
    for _ in range(2):
        write(folder)
        folder.take(NAME)
    await work(Desk(folder), folder)
    file = folder.sftp.parent / "receipts.jsonl"
    file.write_bytes(file.read_bytes()[:-10])
    write(folder)
    again = Folder(folder.sftp.parent)
    again.take(NAME)
    await work(Desk(again), again)
    assert len(Folder(folder.sftp.parent).receipts()) == 2


async def test_a_file_sent_twice_is_counted_twice(folder: Folder) -> None:
    for _ in range(2):
        write(folder)
        folder.take(NAME)
    await work(Desk(folder), folder)
    assert [receipt.sha256 for receipt in folder.receipts()] == [hashlib.sha256(FLUX).hexdigest()] * 2


async def test_silence_leaves_a_receipt_only(folder: Folder) -> None:
    write(folder)
    folder.take(NAME)
    desk = Desk(folder)
    desk.scenario = Scenario(reply="silent")
    await work(desk, folder)
    assert len(folder.receipts()) == 1
    assert replies(folder) == []


async def test_a_refusal_says_so_in_its_name(folder: Folder) -> None:
    write(folder, b"<truncated", "any.xml")
    folder.take("any.xml")
    await work(Desk(folder), folder)
    assert replies(folder)[0].startswith("000000_")
    assert replies(folder)[0].endswith("_KO.xml")


def test_a_file_left_in_the_entry_is_complete_when_its_name_proves_it(folder: Folder) -> None:
    write(folder)
    write(folder, FLUX[:-1], "x%%" + "0" * 40)
    write(folder, FLUX, "no-digest.xml")
    assert folder.complete_ones() == [NAME]


def test_nothing_is_received_that_is_not_there(folder: Folder) -> None:
    assert folder.take(NAME) is None
    assert folder.waiting() == []

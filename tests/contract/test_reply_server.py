"""The way in from DGFiP: the same tests against the stand-in, our simulator's server, and a real OpenSSH server."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.ack.adapters.sftp import SftpReplies
from services.ack.ports import FileChangedError, FileRefusedError, RemoteFile, ReplyServer
from shared.errors import UnavailableError
from tests.fakes.helios import Helios
from tests.fakes.simulated_replies import SimulatedReplies
from tests.real.openssh import OpenSsh

NAME = "034990_260202120000-ACK-1.xml"
CONTENT = bytes(range(256)) * 16 * 1024  # 4 MiB
DIGEST = "d" * 64


@dataclass
class Party:
    """A server, and what a test may do at its other end."""

    server: ReplyServer
    done: str
    put: Callable[[str, bytes], None]
    moved: Callable[[], dict[str, bytes]]
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]


def put_in(folder: Path) -> Callable[[str, bytes], None]:
    def put(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)

    return put


def files_in(folder: Path) -> Callable[[], dict[str, bytes]]:
    return lambda: {file.name: file.read_bytes() for file in folder.iterdir()}


@asynccontextmanager
async def simulated(_: Path) -> AsyncIterator[Party]:
    server = SimulatedReplies()

    async def stop() -> None:
        server.is_down = True

    async def start() -> None:
        server.is_down = False

    def moved() -> dict[str, bytes]:
        return {path.rsplit("/", 1)[1]: content for path, content in server.moved.items()}

    yield Party(server, "/traite", server.put, moved, stop, start)


@asynccontextmanager
async def simulator(folder: Path) -> AsyncIterator[Party]:
    async with Helios(folder, answers=False) as helios:
        server = SftpReplies(helios.server)
        async with aclosing(server):
            done = files_in(helios.replies.parent / "traite")
            yield Party(server, "/traite", put_in(helios.replies), done, helios.stop, helios.start)


@asynccontextmanager
async def openssh(folder: Path) -> AsyncIterator[Party]:
    async with OpenSsh(folder) as sshd:
        server = SftpReplies(sshd.server)
        async with aclosing(server):
            done = folder / "traite"
            yield Party(server, str(done), put_in(folder / "sortie"), files_in(done), sshd.stop, sshd.start)


PLACES = {"simulated": simulated, "simulator": simulator, "openssh": openssh}


@pytest.fixture(params=list(PLACES))
async def party(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(PLACES[request.param](tmp_path))


async def only_file(party: Party) -> RemoteFile:
    (file,) = await party.server.listing()
    return file


async def content_of(party: Party, file: RemoteFile) -> bytes:
    return b"".join([chunk async for chunk in party.server.read(file)])


async def test_files_are_listed_with_their_size(party: Party) -> None:
    assert await party.server.listing() == []
    party.put(NAME, CONTENT)
    file = await only_file(party)
    assert (file.name, file.size) == (NAME, len(CONTENT))
    assert await only_file(party) == file


@pytest.mark.parametrize("name", [".reply.part", "PESALR1_034990.xml"])
async def test_what_is_no_reply_is_not_listed(party: Party, name: str) -> None:
    party.put(name, CONTENT)
    assert await party.server.listing() == []


async def test_a_file_is_read_whole(party: Party) -> None:
    party.put(NAME, CONTENT)
    assert await content_of(party, await only_file(party)) == CONTENT


async def test_a_file_that_grew_since_it_was_listed_is_not_taken(party: Party) -> None:
    party.put(NAME, CONTENT)
    file = await only_file(party)
    party.put(NAME, CONTENT + b"more")
    with pytest.raises(FileChangedError):
        await content_of(party, file)


async def test_a_file_that_has_gone_is_refused_and_the_server_stays(party: Party) -> None:
    with pytest.raises(FileRefusedError):
        await content_of(party, RemoteFile(0, "absent.xml", 10))
    assert await party.server.listing() == []


async def test_a_file_is_moved_aside(party: Party) -> None:
    party.put(NAME, CONTENT)
    await party.server.move(await only_file(party), party.done, DIGEST)
    assert await party.server.listing() == []
    assert party.moved() == {NAME: CONTENT}


async def test_a_file_that_changed_is_not_moved(party: Party) -> None:
    party.put(NAME, CONTENT)
    file = await only_file(party)
    party.put(NAME, CONTENT + b"more")
    await party.server.move(file, party.done, DIGEST)
    assert (await only_file(party)).size == len(CONTENT) + 4
    assert party.moved() == {}


async def test_a_file_that_has_gone_is_not_moved_and_that_is_no_error(party: Party) -> None:
    await party.server.move(RemoteFile(0, "absent.xml", 10), party.done, DIGEST)
    assert party.moved() == {}


async def test_what_was_moved_before_under_the_same_name_is_kept(party: Party) -> None:
    for content in (b"first", b"second"):
        party.put(NAME, content)
        await party.server.move(await only_file(party), party.done, DIGEST)
    assert party.moved() == {NAME: b"first", f"{NAME}.{DIGEST}": b"second"}


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(party: Party) -> None:
    party.put(NAME, CONTENT)
    file = await only_file(party)
    await party.stop()
    with pytest.raises(UnavailableError):
        await party.server.listing()
    with pytest.raises(UnavailableError):
        await content_of(party, file)
    with pytest.raises(UnavailableError):
        await party.server.move(file, party.done, DIGEST)
    await party.start()
    assert await content_of(party, await only_file(party)) == CONTENT


@pytest.mark.parametrize("party", ["openssh"], indirect=True)
async def test_a_name_that_is_not_utf8_hides_no_other(party: Party, tmp_path: Path) -> None:
    (tmp_path / "sortie" / os.fsdecode(b"r\xe9ponse.xml")).write_bytes(b"odd")
    party.put(NAME, CONTENT)
    files = {file.name: file for file in await party.server.listing()}
    assert len(files) == 2
    odd = files[os.fsdecode(b"r\xe9ponse.xml")]
    assert await content_of(party, odd) == b"odd"
    await party.server.move(odd, party.done, DIGEST)
    assert set(party.moved()) == {os.fsdecode(b"r\xe9ponse.xml")}

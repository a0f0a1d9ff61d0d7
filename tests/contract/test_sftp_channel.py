"""The way out to DGFiP: the same tests against the stand-in, our simulator's server, and a real OpenSSH server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh
import pytest

from services.gateway.adapters.sftp import SftpChannel
from services.gateway.ports import Channel, UploadRefusedError
from shared.errors import UnavailableError
from shared.runtime.sftp import SftpServer
from tests.fakes.helios import Helios
from tests.fakes.simulated_channel import SimulatedChannel
from tests.real.openssh import OpenSsh

NOT_REPLIES = [".reply.part", "PESALR1_034990.xml"]
NAME = "VHPCE11%%THELPES2%%PES#123#034990#00%%" + "0" * 40
CONTENT = bytes(range(256)) * 16 * 1024  # 4 MiB


class StopHereError(Exception):
    """What the bytes to send may raise in the middle."""


@dataclass
class Party:
    """A channel, and what a test may do at its other end."""

    channel: Channel
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]
    received: Callable[[str], bytes | None]
    add_reply: Callable[[str], None]
    server: SftpServer | None = None


@asynccontextmanager
async def simulated(_: Path) -> AsyncIterator[Party]:
    channel = SimulatedChannel()

    async def stop() -> None:
        channel.is_down = True

    async def start() -> None:
        channel.is_down = False

    yield Party(channel, stop, start, lambda name: dict(channel.received).get(name), channel.reply_names.append)


@asynccontextmanager
async def simulator(folder: Path) -> AsyncIterator[Party]:
    async with Helios(folder, answers=False) as helios:

        def received(name: str) -> bytes | None:
            found = [one for one in helios.folder.waiting() if one.name == name]
            return helios.folder.content(found[-1]) if found else None

        def add_reply(name: str) -> None:
            helios.folder.reply(name, b"<a/>")

        channel = SftpChannel(helios.server)
        async with aclosing(channel):
            yield Party(channel, helios.stop, helios.start, received, add_reply, helios.server)


@asynccontextmanager
async def openssh(folder: Path) -> AsyncIterator[Party]:
    async with OpenSsh(folder) as sshd:

        def received(name: str) -> bytes | None:
            file = folder / "entree" / name
            return file.read_bytes() if file.exists() else None

        def add_reply(name: str) -> None:
            (folder / "sortie" / name).write_bytes(b"<a/>")

        channel = SftpChannel(sshd.server)
        async with aclosing(channel):
            yield Party(channel, sshd.stop, sshd.start, received, add_reply, sshd.server)


PLACES = {"simulated": simulated, "simulator": simulator, "openssh": openssh}


@pytest.fixture(params=list(PLACES))
async def party(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(PLACES[request.param](tmp_path))


on_real_servers = pytest.mark.parametrize("party", ["simulator", "openssh"], indirect=True)


def real_server(party: Party) -> SftpServer:
    assert party.server is not None
    return party.server


async def pieces(content: bytes, stop_after: int | None = None) -> AsyncIterator[bytes]:
    size = 1024 * 1024
    for start in range(0, len(content), size):
        if stop_after is not None and start >= stop_after:
            raise StopHereError
        yield content[start : start + size]


async def settles(party: Party, name: str, expected: bytes) -> bool:
    """Say whether the other end comes to have these bytes."""
    async with asyncio.timeout(60):
        while party.received(name) != expected:
            await asyncio.sleep(0.005)
    return True


async def test_a_file_arrives_whole_under_its_name(party: Party) -> None:
    await party.channel.open()
    await party.channel.put(NAME, pieces(CONTENT))
    assert await settles(party, NAME, CONTENT)


async def test_an_empty_file_arrives(party: Party) -> None:
    await party.channel.put(NAME, pieces(b""))
    assert await settles(party, NAME, b"")


async def test_several_files_at_once_do_not_mix(party: Party) -> None:
    names = [f"{NAME}-{number}" for number in range(8)]
    contents = [CONTENT[number * 1000 :] for number in range(8)]
    await asyncio.gather(
        *(party.channel.put(name, pieces(content)) for name, content in zip(names, contents, strict=True))
    )
    for name, content in zip(names, contents, strict=True):
        assert await settles(party, name, content)


async def test_a_file_that_is_not_there_has_no_size(party: Party) -> None:
    assert await party.channel.size_of(NAME) is None


async def test_a_file_cut_short_is_seen_as_incomplete_then_overwritten(party: Party) -> None:
    with pytest.raises(StopHereError):
        await party.channel.put(NAME, pieces(CONTENT, stop_after=2 * 1024 * 1024))
    await party.channel.open()
    assert await party.channel.size_of(NAME) == 2 * 1024 * 1024
    await party.channel.put(NAME, pieces(CONTENT))
    assert await settles(party, NAME, CONTENT)


async def test_the_server_can_say_no(party: Party) -> None:
    with pytest.raises(UploadRefusedError):
        await party.channel.put("x" * 300, pieces(CONTENT))
    await party.channel.put(NAME, pieces(CONTENT))
    assert await settles(party, NAME, CONTENT)


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(party: Party) -> None:
    await party.channel.open()
    await party.stop()
    with pytest.raises(UnavailableError):
        await party.channel.open()
    with pytest.raises(UnavailableError):
        await party.channel.put(NAME, pieces(CONTENT))
    with pytest.raises(UnavailableError):
        await party.channel.size_of(NAME)
    await party.start()
    await party.channel.open()
    await party.channel.put(NAME, pieces(CONTENT))
    assert await settles(party, NAME, CONTENT)


async def test_a_connection_lost_in_the_middle_is_unavailable_and_leaves_an_incomplete_file(party: Party) -> None:
    async def until_cut() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        await party.stop()
        yield CONTENT[1000:]

    with pytest.raises(UnavailableError):
        await party.channel.put(NAME, until_cut())
    await party.start()
    await party.channel.open()
    size = await party.channel.size_of(NAME)
    assert size is not None
    assert size < len(CONTENT)


async def test_replies_that_wait_are_seen(party: Party) -> None:
    assert not await party.channel.has_unread_replies()
    party.add_reply("reply.xml")
    assert await party.channel.has_unread_replies()


@pytest.mark.parametrize("name", NOT_REPLIES)
async def test_what_is_no_reply_does_not_wait(party: Party, name: str) -> None:
    party.add_reply(name)
    assert not await party.channel.has_unread_replies()


@on_real_servers
async def test_what_fails_on_a_lost_connection_leaves_the_next_one_alone(party: Party) -> None:
    goes_on, is_open = asyncio.Event(), asyncio.Event()

    async def paused_when(start: asyncio.Event, until: asyncio.Event) -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        start.set()
        await until.wait()
        yield CONTENT[1000:]

    before = asyncio.create_task(party.channel.put(f"{NAME}-1", paused_when(is_open, goes_on)))
    await is_open.wait()
    await party.stop()
    await party.start()
    await party.channel.open()
    is_open.clear()
    ends = asyncio.Event()
    after = asyncio.create_task(party.channel.put(NAME, paused_when(is_open, ends)))
    await is_open.wait()
    goes_on.set()
    with pytest.raises(UnavailableError):
        await before
    ends.set()
    await after
    assert await settles(party, NAME, CONTENT)


async def test_a_file_refused_in_the_middle_leaves_nothing_and_the_others_alone(tmp_path: Path) -> None:
    async with Helios(tmp_path, answers=False, file_bytes_max=1_500_000) as helios:
        async with aclosing(SftpChannel(helios.server)) as channel:
            is_refused = asyncio.Event()

            async def slowly() -> AsyncIterator[bytes]:
                yield b"half"
                await is_refused.wait()
                yield b"whole"

            other = asyncio.create_task(channel.put(NAME, slowly()))
            with pytest.raises(UploadRefusedError):
                await channel.put("too-large.xml", pieces(CONTENT))
            is_refused.set()
            await other
        assert list(helios.entry.iterdir()) == []
        assert [helios.folder.content(one) for one in helios.folder.waiting()] == [b"halfwhole"]


@pytest.mark.parametrize("question", ["size_of", "has_unread_replies", "put"])
async def test_a_session_that_falls_silent_is_dropped_and_another_opened(tmp_path: Path, question: str) -> None:
    async with OpenSsh(tmp_path) as sshd:
        channel = SftpChannel(replace(sshd.server, operation_seconds_max=0.5))
        ask: dict[str, Callable[[], Awaitable[object]]] = {
            "size_of": lambda: channel.size_of(NAME),
            "has_unread_replies": channel.has_unread_replies,
            "put": lambda: channel.put(NAME, pieces(CONTENT)),
        }
        async with aclosing(channel), asyncio.timeout(60):
            await channel.open()
            sshd.fall_silent()
            with pytest.raises(UnavailableError):
                await ask[question]()
            await ask[question]()


@on_real_servers
@pytest.mark.parametrize("pinned", ["garbage", "@foo bar baz", "\xff"])
async def test_host_keys_that_cannot_be_read_are_no_way_in(party: Party, tmp_path: Path, pinned: str) -> None:
    file = tmp_path / "unreadable"
    file.write_text(pinned, "latin-1")
    channel = SftpChannel(replace(real_server(party), known_hosts_file=file))
    async with aclosing(channel):
        with pytest.raises(UnavailableError):
            await channel.open()


@on_real_servers
async def test_a_server_with_another_key_gets_nothing(party: Party, tmp_path: Path) -> None:
    server = real_server(party)
    pinned = tmp_path / "other_known_hosts"
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    pinned.write_text(f"[127.0.0.1]:{server.port} {key}")
    channel = SftpChannel(replace(server, known_hosts_file=pinned))
    async with aclosing(channel):
        with pytest.raises(UnavailableError, match="not trusted"):
            await channel.open()


@on_real_servers
async def test_a_server_that_does_not_know_us_is_unavailable(party: Party) -> None:
    channel = SftpChannel(replace(real_server(party), password="wrong", key_file=None))
    async with aclosing(channel):
        with pytest.raises(UnavailableError, match="Permission denied"):
            await channel.open()


@on_real_servers
async def test_an_entry_directory_that_is_not_there_is_unavailable(party: Party) -> None:
    channel = SftpChannel(replace(real_server(party), entry_directory="/nowhere"))
    async with aclosing(channel):
        with pytest.raises(UnavailableError, match="entry directory"):
            await channel.open()


@on_real_servers
async def test_a_server_that_does_not_speak_is_unavailable(party: Party) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        channel = SftpChannel(replace(real_server(party), port=port, connect_seconds_max=0.2))
        async with aclosing(channel):
            with pytest.raises(UnavailableError):
                await channel.open()

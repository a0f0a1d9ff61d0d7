"""What `gateway` needs from outside, in its own words."""

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import UUID

from shared.errors import PesError
from shared.facts.envelope import Event


class UploadRefusedError(PesError):
    """The server answered, and said no: it does not have the file. Record it; trying again at once is no use."""


class Documents(Protocol):
    """Where the files to send are."""

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a document; see `shared.runtime.documents.DocumentStore.stream` for what it raises."""


class Markers(Protocol):
    """What was attempted, told once more where no restore of the database reaches."""

    async def put(self, attempted: Event) -> None:
        """Keep the event of an attempt; the process that recorded it is the only one to do so.

        Raises:
            UnavailableError: it may not have been kept.
        """

    async def beyond(self, flux_id: UUID, attempt: int) -> list[Event]:
        """Return the attempts of a flux whose number is greater than this one, in order.

        Raises:
            MalformedMessageError: what was kept cannot be read.
            UnavailableError: nobody can tell.
        """


class Choices(Protocol):
    """What the collectivités chose."""

    async def channel_of(self, siren: str) -> str:
        """Return the channel that a collectivité chose; empty when it chose none: by the usual one."""


class Channel(Protocol):
    """The way out to DGFiP: one entry directory, where a file counts as received once it is complete."""

    @property
    def name(self) -> str:
        """What the facts call it, and those who choose it for a collectivité."""

    async def open(self) -> None:
        """Return once the server answers.

        Raises:
            UnavailableError: it does not.
        """

    async def size_of(self, remote_name: str) -> int | None:
        """Return the size of a file of the entry directory, or None when it is not there.

        Raises:
            UnavailableError: the server does not answer.
        """

    async def has_unread_replies(self) -> bool:
        """Say whether replies wait to be collected.

        Raises:
            UnavailableError: the server does not answer.
        """

    async def put(self, remote_name: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file into the entry directory, over one of the same name; return once the server has it all.

        `chunks` is asked for the first piece once the server is ready to take it: until then, no byte has left.
        If `chunks` raises, the file is left incomplete, never closed, and the error goes through.

        Raises:
            UploadRefusedError: the server said no.
            UnavailableError: the connection was lost; whether the server has the file is unknown.
        """

"""What `ack` needs from outside, in its own words."""

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.errors import PesError
from shared.facts.envelope import format_time
from shared.facts.lifecycles.reply import State
from shared.facts.values import Document, Verdict


class FileRefusedError(PesError):
    """The server refused one step on one file. Go on with the others; this one is tried at the next pass."""


class FileChangedError(PesError):
    """A file is no longer as it was listed: it is still being written. The next listings will show it again."""


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file as it was listed. Two listings of it are equal only if it did not change; the oldest sorts first.

    Attributes:
        modified_at: Unix time, in seconds; 0 when the server does not say.
    """

    modified_at: int
    name: str
    size: int


class ReplyServer(Protocol):
    """DGFiP's server, as far as replies go. Every method raises `UnavailableError` when it does not answer."""

    async def listing(self) -> list[RemoteFile]:
        """Return the replies that wait in the reply directory, and nothing else that lies there."""

    def read(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """Yield a file piece by piece.

        Raises:
            FileRefusedError: the server does not give it.
            FileChangedError: what was read is not the file as it was listed; raised at the end.
        """

    async def move(self, file: RemoteFile, directory: str, sha256: str) -> None:
        """Move a file aside if it is still as it was listed; do nothing if it changed, or has gone.

        Args:
            file: the file, as listed.
            directory: where to.
            sha256: of its bytes; becomes part of its name when another file has the name already.

        Raises:
            FileRefusedError: the server does not move it.
        """


class Documents(Protocol):
    """Where replies are kept; see `shared.runtime.documents.DocumentStore` for what its methods raise."""

    async def put(self, chunks: AsyncIterable[bytes], *, bytes_max: int) -> Document:
        """Store bytes as they come."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole."""


class ReplyRow(BaseModel):
    """A reply that belonged to no flux when it came: `reason` says why, `decision` why what was decided since."""

    model_config = ConfigDict(frozen=True)

    reply_id: UUID
    received_at: datetime
    remote_name: str
    nomfic: str
    verdict: Verdict | None
    sha256: str
    reason: str
    state: State
    flux_id: UUID | None
    decided_by: str
    decided_at: datetime | None
    decision: str

    def shown(self) -> dict[str, object]:
        """Return it as the API answers it."""
        return self.model_dump(mode="json") | {
            "on_screen": self.state.on_screen,
            "received_at": format_time(self.received_at),
            "decided_at": format_time(self.decided_at) if self.decided_at else None,
        }


class ReplyRows(Protocol):
    """The list of those replies."""

    async def page(self, state: State, *, before: UUID | None, limit: int) -> list[ReplyRow]:
        """Return the replies in a state that came before one of them, so many at most, the most recent first."""

    async def one(self, reply_id: UUID) -> ReplyRow | None:
        """Return one of them, if there is such a reply."""

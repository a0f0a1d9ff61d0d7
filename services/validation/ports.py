"""What `validation` needs from outside, in its own words."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from pes.schemas.packs import PackFiles
from pes.vocabulary import Severity
from shared.facts.collectivite import Identifier
from shared.facts.platform import PackUse
from shared.facts.values import Document

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Documents(Protocol):
    """Where the imported files are, and what is kept beside them."""

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a document; see `shared.runtime.documents.DocumentStore.stream` for what it raises."""

    async def read(self, sha256: str) -> bytes:
        """Return a document whole."""

    async def put_bytes(self, content: bytes) -> Document:
        """Keep something beside a document."""


class Antivirus(Protocol):
    """Looks for viruses."""

    async def scan(self, chunks: AsyncIterable[bytes]) -> str | None:
        """Return the name of what was found, or None; raise `UnavailableError` when it cannot tell."""


class Scratch(Protocol):
    """A folder for files that are being looked at; nothing stays there."""

    def keep(self, chunks: AsyncIterable[bytes]) -> AbstractAsyncContextManager[Path]:
        """Hold these bytes in a file for as long as the context lasts."""

    def room(self) -> AbstractAsyncContextManager[Path]:
        """Give the path of a file that may be written, for as long as the context lasts."""

    def folder(self) -> AbstractAsyncContextManager[Path]:
        """Give an empty folder, for as long as the context lasts."""


class Workers(Protocol):
    """Processes that do what takes long or is dangerous."""

    async def run(self, do: Callable[[Task], Answer], task: Task) -> Answer:
        """Return `do(task)`, done elsewhere; raise `WorkerLostError` when the worker died of it."""


@dataclass(frozen=True)
class InstalledPack:
    """A schema pack, and when it is in force: from a day (included) until a day (excluded), or without end."""

    pack_id: str
    digest: str
    use: PackUse
    effective_from: date
    effective_until: date | None
    installed_at: datetime | None = None
    installed_by: str = ""

    def is_in_force(self, today: date) -> bool:
        """Say whether it applies on a day; its use says how."""
        return self.effective_from <= today and (self.effective_until is None or today < self.effective_until)


@dataclass(frozen=True)
class PolicyChange:
    """How serious a control is for a collectivité ("*": for all), from now on; None is back to its default."""

    collectivite: str
    code: str
    severity: Severity | None
    reason: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True)
class KnownCollectivite:
    """A collectivité that the platform serves; `channel` is empty when it chose none."""

    siren: str
    name: str
    state: str
    channel: str
    opened_at: datetime


@dataclass(frozen=True)
class Registered:
    """What DGFiP knows a collectivité by, who registered it, when and why."""

    identifier: Identifier
    registered_at: datetime
    registered_by: str
    reason: str


@dataclass(frozen=True)
class Seen:
    """What flux that DGFiP took in named their collectivité by: how many of them, and the last of them when."""

    identifier: Identifier
    flux: int
    last_at: datetime


class Collectivites(Protocol):
    """Who the collectivités are."""

    async def all(self) -> Sequence[KnownCollectivite]:
        """Return every one that the platform serves, by SIREN."""

    async def identifiers(self, siren: str) -> frozenset[Identifier]:
        """Return what is registered for a collectivité."""

    async def registered(self, siren: str) -> Sequence[Registered]:
        """Return what is registered for a collectivité, the oldest first."""

    async def seen(self, siren: str) -> Sequence[Seen]:
        """Return what the flux of a collectivité have named so far, of those that DGFiP took in."""


class Packs(Protocol):
    """The schema packs of the platform."""

    async def all(self) -> list[InstalledPack]:
        """Return every pack, the newest first."""

    async def files(self, digest: str) -> PackFiles:
        """Return the files of a pack."""

    async def keep(self, pack: PackFiles) -> None:
        """Keep the files of a pack, before a fact names it; they may be there already."""


class Policies(Protocol):
    """How serious each control is, for each collectivité."""

    async def of(self, collectivite: str) -> Mapping[str, Severity]:
        """Return what differs from the defaults for a collectivité."""

    async def changes(self, collectivite: str) -> Sequence[PolicyChange]:
        """Return every change that concerns a collectivité, the last first."""

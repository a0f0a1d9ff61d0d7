"""The markers of attempts, beside the documents: `sent/<flux>/<attempt>` holds the event of the attempt as it is."""

from typing import Protocol
from uuid import UUID

from shared.facts.envelope import Event, read_event
from shared.facts.flux import TransmissionAttempted


class Named(Protocol):
    """Bytes under names; see `shared.runtime.documents.DocumentStore`."""

    async def put_named(self, name: str, content: bytes) -> None:
        """Store bytes under a name."""

    async def read_named(self, name: str) -> bytes:
        """Return the bytes under a name."""

    async def names_under(self, folder: str) -> list[str]:
        """Return the names right under a folder."""


class StoredMarkers:
    """See `services.gateway.ports.Markers`."""

    def __init__(self, store: Named) -> None:
        """Keep markers in this store."""
        self._store = store

    async def put(self, attempted: Event) -> None:
        """See `Markers.put`."""
        if not isinstance(attempted.data, TransmissionAttempted):
            raise TypeError(attempted.kind)
        await self._store.put_named(_name(attempted.flux_id, attempted.data.attempt), attempted.to_bytes())

    async def beyond(self, flux_id: UUID, attempt: int) -> list[Event]:
        """See `Markers.beyond`."""
        numbers = [int(name) for name in await self._store.names_under(_folder(flux_id)) if name.isdecimal()]
        later = sorted(number for number in numbers if number > attempt)
        return [read_event(await self._store.read_named(_name(flux_id, number))) for number in later]


def _folder(flux_id: UUID) -> str:
    return f"sent/{flux_id}"


def _name(flux_id: UUID, attempt: int) -> str:
    return f"{_folder(flux_id)}/{attempt}"

"""What people look up: the list of flux, one flux now or then, the facts of any stream; for whoever may see them."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.history.documents import Kept, chosen, documents_of
from services.history.listing import flux_page
from services.history.ports import Documents, Rows, Wanted
from services.history.views import flux_shown, until
from shared.errors import RequestRefusedError, Why
from shared.facts.streams import stream_id_of
from shared.journal.history import History, Recorded
from shared.journal.reading import FluxRead, read_flux
from shared.web.auth import Caller, Right
from shared.web.problems import flux_not_found


@dataclass(frozen=True)
class Lookups:
    """Finds what is asked for. What the caller may not see is refused as if it were not there."""

    history: History
    rows: Rows
    store: Documents

    async def page(
        self, who: Caller, collectivite: str, wanted: Wanted, before: UUID | None, limit: int
    ) -> dict[str, object]:
        """Return lines of the list, of one collectivité or of all those seen, the most recent flux first."""
        seen = replace(wanted, perimeter=_perimeter(who, collectivite))
        page = await flux_page(seen, self.rows, self.history, before=before, limit=limit)
        return {"flux": [row.shown() for row in page.rows], "next": page.next and str(page.next)}

    async def flux(self, flux_id: UUID, at: datetime | None, who: Caller) -> dict[str, object]:
        """Return a flux, as it was at a moment if one is given."""
        recorded = await self.flux_events(flux_id, who)
        return _shown(flux_id, recorded[0].collectivite, read_flux(recorded), at)

    async def flux_events(self, flux_id: UUID, who: Caller) -> list[Recorded]:
        """Return all the events of a flux, as they stand."""
        return await self._visible(flux_id, who, flux_not_found(flux_id))

    async def documents(self, flux_id: UUID, who: Caller) -> list[Kept]:
        """Return the documents of a flux, as far as its facts can be read."""
        read = read_flux(await self.flux_events(flux_id, who))
        if not read.is_of_a_flux:
            raise flux_not_found(flux_id)
        return documents_of(read.past)

    async def document(self, flux_id: UUID, which: str, who: Caller) -> Kept:
        """Return the document of a flux that is named by its digest, or the last one in a role."""
        found = chosen(await self.documents(flux_id, who), which)
        if found is None:
            raise _no_document(flux_id, which)
        return found

    async def stream_events(self, address: str, after: int, limit: int, who: Caller) -> tuple[UUID, list[Recorded]]:
        """Return the id of the stream that is named, and events of it, as they stand."""
        try:
            stream_id = stream_id_of(address)
        except ValueError as error:
            raise _no_stream(address) from error
        return stream_id, await self._visible(stream_id, who, _no_stream(address), after=after, limit=limit)

    async def _visible(
        self,
        stream_id: UUID,
        who: Caller,
        not_found: RequestRefusedError,
        *,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Recorded]:
        """Return events of a stream as they stand, for whoever may read in the collectivité that it is of.

        Raises:
            RequestRefusedError: `not_found`: there is none, or the caller may not see it: nobody can tell which.
        """
        first = await self.history.recorded(stream_id, limit=1)
        if not first or not who.may(Right.READ, first[0].collectivite):
            raise not_found
        return await self.history.recorded(stream_id, after=after, limit=limit)


def _perimeter(who: Caller, collectivite: str) -> frozenset[str] | None:
    """Return the collectivités whose flux to list: the one asked for, or all those that the caller sees."""
    action = "consulter les flux"
    who.require_somewhere(Right.READ, action)
    if collectivite:
        return frozenset({who.choose(collectivite, Right.READ, action)})
    return who.perimeter(Right.READ)


def _shown(flux_id: UUID, collectivite: str, read: FluxRead, at: datetime | None) -> dict[str, object]:
    """Show a flux, as it was at a moment if one is given.

    Raises:
        RequestRefusedError: the stream is no flux, or there was none at that moment.
    """
    if not read.is_of_a_flux:
        raise flux_not_found(flux_id)
    if at is not None:
        read = until(read, at)
    if not read.version:
        raise RequestRefusedError(
            Why.NOT_FOUND,
            "flux-not-yet",
            "Flux inexistant à cet instant",
            f"Le flux {flux_id} n’existait pas encore à cet instant. Choisissez-en un postérieur à son import.",
        )
    return flux_shown(flux_id, collectivite, read)


def _no_document(flux_id: UUID, which: str) -> RequestRefusedError:
    detail = (
        f"Le flux {flux_id} n’a pas de document « {which[:100]} ». Donnez un rôle (imported, signed, transmitted, "
        f"reply) ou l’empreinte d’un document de GET /v1/flux/{flux_id}/documents."
    )
    return RequestRefusedError(Why.NOT_FOUND, "document-not-found", "Document introuvable", detail)


def _no_stream(address: str) -> RequestRefusedError:
    detail = (
        f"Aucun historique « {address[:100]} » n’est visible avec votre compte. Donnez l’identifiant d’un flux ou "
        "d’une réponse, ou collectivite: suivi d’un SIREN, ou platform: suivi de packs, defaults, bus ou settings."
    )
    return RequestRefusedError(Why.NOT_FOUND, "stream-not-found", "Historique introuvable", detail)

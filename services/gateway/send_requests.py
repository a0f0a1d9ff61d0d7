"""What people decide of the sending of flux: that one leaves, or leaves again."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from services.gateway import decide
from shared.facts.lifecycles.flux import Flux, State
from shared.journal.history import History
from shared.web.auth import Caller, Right
from shared.web.deciding import decide_on


class SendRequests:
    """Records that people want flux to leave; the fact itself, coming back from the bus, has them sent."""

    def __init__(self, *, history: History, now: Callable[[], datetime]) -> None:
        """Record in `history`."""
        self._history = history
        self._now = now

    async def take(self, flux_id: UUID, reason: str, who: Caller, *, seen: int | None = None) -> dict[str, object]:
        """Record one request and return what the API answers; `seen` is the version of the flux that it is about.

        Raises:
            RequestRefusedError: the caller may not see the flux, or as `decide.request` says.
            VersionConflictError: the flux moves faster than we can follow.
        """
        decided = await decide_on(
            flux_id,
            lambda flux, _: decide.request(flux, reason.strip(), seen),
            who=who,
            right=Right.SEND,
            action="envoyer un flux",
            history=self._history,
            now=self._now,
            seen=seen,
        )
        detail = "L’envoi est demandé." if decided.recorded else _already(decided.flux)
        return _answer(flux_id, decided.flux, detail)


def _already(flux: Flux) -> str:
    if flux.state is State.SENDING:
        return "L’envoi est déjà demandé ; rien n’a été ajouté."
    return "Le flux a déjà été transmis à la DGFiP ; rien n’a été ajouté."


def _answer(flux_id: UUID, flux: Flux, detail: str) -> dict[str, object]:
    return {"flux_id": str(flux_id), "state": flux.state, "on_screen": flux.on_screen, "detail": detail}

"""What people see and decide of the replies that belong to no flux: link one to its flux, or dismiss it.

Nobody guesses which flux a reply answers (see `decide`); a person may know, and answers for it. To link is recorded
with the reply alone; what follows, for the flux or for a reply that came too late, is recorded when that fact comes
back from the bus (`handler`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.ack import decide
from services.ack.acquit import Reading, read_reply
from services.ack.ports import Documents, ReplyRows
from shared.errors import RequestRefusedError, Why
from shared.facts.fact import Fact
from shared.facts.flux import ReplyReceived
from shared.facts.lifecycles.reply import Reply, State, fold
from shared.facts.streams import EVERY_COLLECTIVITE, UNATTRIBUTED, reply_stream
from shared.journal.decisions import decide_in
from shared.journal.history import History
from shared.web.auth import Caller, Right
from shared.web.deciding import load_flux


@dataclass(frozen=True)
class Replies:
    """See the module. A reply is of no collectivité: a right on it is one in all of them."""

    history: History
    documents: Documents
    rows: ReplyRows
    now: Callable[[], datetime]

    async def listed(self, state: State, before: UUID | None, limit: int, who: Caller) -> dict[str, object]:
        """Return the replies in a state, the most recent first."""
        who.require(Right.READ, EVERY_COLLECTIVITE, "consulter les réponses non rattachées")
        found = await self.rows.page(state, before=before, limit=limit)
        following = str(found[-1].reply_id) if len(found) == limit else None
        return {"replies": [row.shown() for row in found], "next": following}

    async def shown(self, reply_id: UUID, who: Caller) -> dict[str, object]:
        """Return one reply."""
        who.require(Right.READ, EVERY_COLLECTIVITE, "consulter les réponses non rattachées")
        row = await self.rows.one(reply_id)
        if row is None:
            raise _reply_not_found(reply_id)
        return row.shown()

    async def link(self, reply_id: UUID, flux_id: UUID, reason: str, who: Caller) -> dict[str, object]:
        """Record that a reply is the answer to a flux.

        Raises:
            RequestRefusedError: there is no such reply or flux, or as `decide.link` says.
        """
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "rattacher une réponse")

        async def linked(reply: Reply) -> list[Fact]:
            known = await load_flux(flux_id, who=who, history=self.history)
            return decide.link(reply, await self._reading(reply), flux_id, known.flux, reason)

        await self._decide(reply_id, linked, who)
        return await self.shown(reply_id, who)

    async def dismiss(self, reply_id: UUID, reason: str, who: Caller) -> dict[str, object]:
        """Record that a reply is none of ours.

        Raises:
            RequestRefusedError: there is no such reply, or it is linked.
        """
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "écarter une réponse")

        async def dismissed(reply: Reply) -> list[Fact]:
            return decide.dismiss(reply, reason)

        await self._decide(reply_id, dismissed, who)
        return await self.shown(reply_id, who)

    async def _decide(self, reply_id: UUID, decide_it: Callable[[Reply], Awaitable[list[Fact]]], who: Caller) -> None:
        async def decided(past: Sequence[Fact]) -> list[Fact]:
            if not past or not isinstance(past[0], ReplyReceived):
                raise _reply_not_found(reply_id)
            return await decide_it(fold(past))

        await decide_in(
            reply_stream(reply_id),
            decided,
            collectivite=UNATTRIBUTED,
            actor=who.subject,
            history=self.history,
            now=self.now,
        )

    async def _reading(self, reply: Reply) -> Reading:
        if reply.received is None:
            raise ValueError("a reply begins with its reception")
        content = await self.documents.read(reply.received.document.sha256)
        return await asyncio.to_thread(read_reply, content, reply.received.remote_name)


def _reply_not_found(reply_id: UUID) -> RequestRefusedError:
    detail = f"Aucune réponse {reply_id} n’est venue sans flux. Listez-les : heliotrope replies list."
    return RequestRefusedError(Why.NOT_FOUND, "reply-not-found", "Réponse introuvable", detail)

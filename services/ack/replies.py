"""What people see and decide of the replies that belong to no flux: link one to its flux, or dismiss it.

Nobody guesses which flux a reply answers (see `decide`); a person may know, and answers for it. To link is recorded
with the reply alone; what follows, for the flux or for a reply that came too late, is recorded when that fact comes
back from the bus (`handler`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.ack import decide
from services.ack.acquit import Reading, read_reply
from services.ack.ports import Documents, ReplyRows
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.lifecycles.reply import Reply, State, fold
from shared.facts.streams import EVERY_COLLECTIVITE, StreamKind
from shared.journal.history import History
from shared.retrying import until_no_conflict
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

        async def attempt() -> None:
            past, reply = await self._load(reply_id)
            known = await load_flux(flux_id, who=who, history=self.history)
            facts = decide.link(reply, await self._reading(reply), flux_id, known.flux, reason)
            await self._append(past, facts, who)

        await until_no_conflict(attempt)
        return await self.shown(reply_id, who)

    async def dismiss(self, reply_id: UUID, reason: str, who: Caller) -> dict[str, object]:
        """Record that a reply is none of ours.

        Raises:
            RequestRefusedError: there is no such reply, or it is linked.
        """
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, "écarter une réponse")

        async def attempt() -> None:
            past, reply = await self._load(reply_id)
            await self._append(past, decide.dismiss(reply, reason), who)

        await until_no_conflict(attempt)
        return await self.shown(reply_id, who)

    async def _load(self, reply_id: UUID) -> tuple[list[Event], Reply]:
        past = await self.history.load(reply_id)
        if not past or past[0].stream.kind is not StreamKind.REPLY:
            raise _reply_not_found(reply_id)
        return past, fold(event.data for event in past)

    async def _reading(self, reply: Reply) -> Reading:
        if reply.received is None:
            raise ValueError("a reply begins with its reception")
        content = await self.documents.read(reply.received.document.sha256)
        return await asyncio.to_thread(read_reply, content, reply.received.remote_name)

    async def _append(self, past: list[Event], facts: list[Fact], who: Caller) -> None:
        events = [past[-1].follow(fact, actor=who.subject, at=self.now()) for fact in facts]
        if events:
            await self.history.append(events, expected_version=past[-1].version)


def _reply_not_found(reply_id: UUID) -> RequestRefusedError:
    detail = f"Aucune réponse {reply_id} n'est venue sans flux. Listez-les : heliotrope replies list."
    return RequestRefusedError(Why.NOT_FOUND, "reply-not-found", "Réponse introuvable", detail)

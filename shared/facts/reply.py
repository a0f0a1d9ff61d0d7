"""Every fact about what DGFiP sent that belongs to no flux yet.

A reply that answers a flux is recorded with that flux; one that does not has a stream of its own, until somebody says
what it is.
"""

from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import Field

from shared.facts.fact import Fact
from shared.facts.flux import ReplyReceived, ReplyUnmatched


class ReplyLinked(Fact):
    """Someone answers for this reply being the answer to that flux, for this reason."""

    kind: Literal["reply.linked.v1"] = "reply.linked.v1"
    flux_id: UUID
    reason: str


class ReplyUnlinked(Fact):
    """The link had no effect, for this reason (French): another answer was first. The reply waits again."""

    kind: Literal["reply.unlinked.v1"] = "reply.unlinked.v1"
    flux_id: UUID
    reason: str


class ReplyDismissed(Fact):
    """Someone answers for this reply being none of ours, for this reason. It is kept."""

    kind: Literal["reply.dismissed.v1"] = "reply.dismissed.v1"
    reason: str


ReplyFact = Annotated[
    ReplyReceived | ReplyUnmatched | ReplyLinked | ReplyUnlinked | ReplyDismissed,
    Field(discriminator="kind"),
]

REPLY_FACTS: tuple[type[Fact], ...] = get_args(get_args(ReplyFact)[0])

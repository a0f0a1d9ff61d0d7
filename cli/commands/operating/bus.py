"""Commands about the bus: the messages that a service could not read, kept aside until someone releases them."""

import asyncio
import getpass
import socket
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandRefusedError, UsageProblemError
from cli.infrastructure import Infrastructure, find_infrastructure, parked_messages
from cli.options import AsJson, DataOption, environ
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, reporting, say, show
from cli.showing.timeline import time_of
from shared.bus.consumer import ParkedMessage
from shared.facts.fact import Fact
from shared.facts.platform import MessageReleased
from shared.facts.streams import EVERY_COLLECTIVITE, platform_stream
from shared.journal.decisions import decide_in
from shared.journal.history import History
from shared.web.texts import Person, Reason

_REASON: Final = TypeAdapter[str](Reason)
_PERSON: Final = TypeAdapter[str](Person)

app = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Ce qui circule entre les services.")
parked = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les messages illisibles, retenus.")
app.add_typer(parked, name="parked")


@parked.command("list", cls=FrenchCommand)
def list_parked(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Liste les messages retenus, du plus ancien au plus récent."""
    with reporting(as_json=as_json):
        messages = asyncio.run(_all(find_infrastructure(environ(), data)))
        if as_json:
            emit({"parked": [asdict(message) for message in messages]})
        elif not messages:
            say("Aucun message retenu.")
        else:
            show(_table_of(messages))


@parked.command("release", cls=FrenchCommand)
def release_parked(
    parked_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Ceux à présenter de nouveau.")
    ] = None,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="MOTIF", help="Pourquoi ils seront lus cette fois ; gardé.")
    ],
    actor: Annotated[
        str,
        typer.Option("--actor", metavar="QUI", help="Qui le décide, sinon votre compte sur cette machine ; gardé."),
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Tous.")] = False,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Présente de nouveau des messages au service qui n’avait pas pu les lire."""
    with reporting(as_json=as_json):
        if bool(parked_ids) == every:
            raise UsageProblemError("Messages à préciser", "Donnez leurs identifiants, ou --all pour tous.")
        why = _read(_REASON, reason, "Motif à préciser", "Dites pourquoi, en 3 à 500 caractères (--reason).")
        who = _read(_PERSON, actor.strip() or _account(), "Auteur à préciser", "Dites qui le décide (--actor).")
        released, unknown = asyncio.run(
            _release(find_infrastructure(environ(), data), parked_ids, who=who, reason=why)
        )
        if as_json:
            emit({"released": released, "unknown": unknown})
        for parked_id in released:
            say(f"{parked_id} : présenté de nouveau.")
        if unknown:
            raise CommandRefusedError(
                "Messages inconnus",
                f"Aucun message n’est retenu sous : {', '.join(unknown)}. Voir : heliotrope bus parked list",
            )


async def _all(infrastructure: Infrastructure) -> list[ParkedMessage]:
    async with parked_messages(infrastructure) as (messages, _):
        return await messages.all()


async def _release(
    infrastructure: Infrastructure, parked_ids: list[str] | None, *, who: str, reason: str
) -> tuple[list[str], list[str]]:
    """Release messages (None: all of them); return those that were, and those that are not there.

    Who decided it is recorded before: what is delivered again is never without its reason.
    """
    async with parked_messages(infrastructure) as (messages, history):
        parked = {message.parked_id: message for message in await messages.all()}
        found: dict[str, bool] = {}
        for parked_id in parked_ids or parked:
            if message := parked.get(parked_id):
                await _record(_released(message, reason), who, history)
            found[parked_id] = message is not None and await messages.release(parked_id)
    return [one for one, was in found.items() if was], [one for one, was in found.items() if not was]


def _released(message: ParkedMessage, reason: str) -> MessageReleased:
    """Return the fact that somebody releases a message."""
    return MessageReleased(
        group=message.group, message_id=message.parked_id, message_kind=message.kind, reason=reason
    )


async def _record(fact: MessageReleased, who: str, history: History) -> None:
    async def decide(_: Sequence[Fact]) -> list[Fact]:
        return [fact]

    await decide_in(
        platform_stream("bus"),
        decide,
        collectivite=EVERY_COLLECTIVITE,
        actor=who,
        history=history,
        now=lambda: datetime.now(UTC),
    )


def _read(kind: TypeAdapter[str], text: str, title: str, advice: str) -> str:
    """Read a text as the APIs do theirs (`shared.web.texts`): it goes into a fact likewise."""
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        raise UsageProblemError(title, advice) from error


def _account() -> str:
    """Return who runs this command, as this machine knows them: `karima@exploitation-2`."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError) as error:  # a container may run under a number that has no name
        raise UsageProblemError("Auteur à préciser", "Dites qui le décide (--actor).") from error


def _table_of(messages: list[ParkedMessage]) -> Table:
    table = Table()
    for column in ("Message", "Service", "Fait", "Depuis", "Attend", "Pourquoi"):
        table.add_column(column, overflow="fold")
    for message in messages:
        since = time_of(message.parked_at)
        table.add_row(message.parked_id, message.group, message.kind, since, message.awaits, message.error)
    return table

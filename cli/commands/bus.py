"""Commands about the bus: the messages that a service could not read, kept aside until someone releases them."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from cli.errors import CommandRefusedError, UsageProblemError
from cli.french import FrenchCommand, FrenchGroup
from cli.infrastructure import Infrastructure, find_infrastructure, parked_messages
from cli.options import AsJson, DataOption, environ
from cli.output import Table, emit, reporting, say, show
from cli.timeline import time_of
from shared.bus.consumer import ParkedMessage

app = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Ce qui circule entre les services.")
parked = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les messages illisibles, mis de côté.")
app.add_typer(parked, name="parked")


@parked.command("list", cls=FrenchCommand)
def list_parked(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Liste les messages mis de côté, du plus ancien au plus récent."""
    with reporting(as_json=as_json):
        messages = asyncio.run(_all(find_infrastructure(environ(), data)))
        if as_json:
            emit({"parked": [asdict(message) for message in messages]})
        elif not messages:
            say("Aucun message mis de côté.")
        else:
            show(_table_of(messages))


@parked.command("release", cls=FrenchCommand)
def release_parked(
    parked_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Ceux à présenter de nouveau.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Tous.")] = False,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Présente de nouveau des messages au service qui n'avait pas pu les lire."""
    with reporting(as_json=as_json):
        if bool(parked_ids) == every:
            raise UsageProblemError("Messages à préciser", "Donnez leurs identifiants, ou --all pour tous.")
        released, unknown = asyncio.run(_release(find_infrastructure(environ(), data), parked_ids))
        if as_json:
            emit({"released": released, "unknown": unknown})
        for parked_id in released:
            say(f"{parked_id} : présenté de nouveau.")
        if unknown:
            raise CommandRefusedError(
                "Messages inconnus",
                f"Rien n'est mis de côté sous : {', '.join(unknown)}. Voir : heliotrope bus parked list",
            )


async def _all(infrastructure: Infrastructure) -> list[ParkedMessage]:
    async with parked_messages(infrastructure) as messages:
        return await messages.all()


async def _release(infrastructure: Infrastructure, parked_ids: list[str] | None) -> tuple[list[str], list[str]]:
    """Release messages (None: all of them); return those that were, and those that are not there."""
    async with parked_messages(infrastructure) as messages:
        asked = parked_ids or [message.parked_id for message in await messages.all()]
        found = {parked_id: await messages.release(parked_id) for parked_id in asked}
    return [one for one, was in found.items() if was], [one for one, was in found.items() if not was]


def _table_of(messages: list[ParkedMessage]) -> Table:
    table = Table()
    for column in ("Message", "Service", "Fait", "Depuis", "Attend", "Pourquoi"):
        table.add_column(column, overflow="fold")
    for message in messages:
        since = time_of(message.parked_at)
        table.add_row(message.parked_id, message.group, message.kind, since, message.awaits, message.error)
    return table

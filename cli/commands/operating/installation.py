"""Commands of an installation: bring the database up to date, make its projections again, create the topics."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import asyncpg
import typer

from cli.errors import CommandRefusedError, UsageProblemError
from cli.infrastructure import find_infrastructure, no_answer, require_broker
from cli.options import AsJson, DataOption, environ
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, emit_or_say, reporting, say, show
from shared.bus.kafka import create_topics
from shared.bus.topics import TOPICS
from shared.errors import PesError
from shared.journal.projections import Projection, open_projections
from shared.journal.schema import migrate

database = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="La base de données.")
projections = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les tables qui se déduisent du journal.")
topics = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les topics Kafka.")


@database.command("migrate", cls=FrenchCommand)
def migrate_database(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Met le schéma de la base à jour (DATABASE_URL : un rôle qui peut créer des tables). Se relance sans risque."""
    with reporting(as_json=as_json):
        url = find_infrastructure(environ(), data).database_url
        with _answered("La base a refusé la mise à jour"):
            applied = asyncio.run(migrate(url))
        emit_or_say(
            {"applied": applied},
            f"Appliqué : {', '.join(applied)}." if applied else "Le schéma est à jour.",
            as_json=as_json,
        )


@projections.command("list", cls=FrenchCommand)
def list_projections(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Liste les tables qui se déduisent du journal, et les faits dont chacune se déduit."""
    with reporting(as_json=as_json):
        url = find_infrastructure(environ(), data).database_url
        with _answered("La base a refusé de les montrer"):
            known = asyncio.run(_projections(url))
        if as_json:
            emit({"projections": [asdict(one) for one in known]})
            return
        table = Table()
        for column in ("Projection", "Tables", "Faits"):
            table.add_column(column, overflow="fold")
        for one in known:
            table.add_row(one.name, "\n".join(one.tables), "\n".join(one.kinds))
        show(table)


@projections.command("rebuild", cls=FrenchCommand)
def rebuild_projections(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NOM…", help="Celles à refaire ; toutes, sans nom.")
    ] = None,
    *,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Refait des tables à partir du journal, sans rien arrêter (DATABASE_URL : le rôle propriétaire du schéma)."""
    with reporting(as_json=as_json):
        url = find_infrastructure(environ(), data).database_url
        with _answered("La base a refusé de les refaire"):
            rebuilt = asyncio.run(_rebuild(url, names or []))
        if as_json:
            emit({"rebuilt": rebuilt})


@topics.command("create", cls=FrenchCommand)
def create_all_topics(
    replication: int = typer.Option(3, min=1, metavar="N", help="Nombre de copies ; 1 pour un seul broker."),
    *,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Crée les topics qui manquent (KAFKA_BOOTSTRAP). Se relance sans risque."""
    with reporting(as_json=as_json):
        bootstrap = environ().get("KAFKA_BOOTSTRAP", "") or require_broker(find_infrastructure(environ(), data))
        try:
            created = asyncio.run(create_topics(bootstrap, TOPICS, replication=replication))
        except PesError as error:
            raise no_answer(error) from error
        emit_or_say(
            {"created": created},
            f"Créés : {', '.join(created)}." if created else "Tous les topics existent.",
            as_json=as_json,
        )


async def _projections(url: str) -> list[Projection]:
    async with open_projections(url) as projections:
        return await projections.all()


async def _rebuild(url: str, names: list[str]) -> dict[str, int]:
    """Make projections again (all, without a name), one after the other; return how many facts each follows from."""
    rebuilt: dict[str, int] = {}
    async with open_projections(url) as projections:
        known = [one.name for one in await projections.all()]
        if unknown := [name for name in names if name not in known]:
            raise UsageProblemError("Projection inconnue", f"{', '.join(unknown)} : écrivez {', '.join(known)}.")
        for name in names or known:
            rebuilt[name] = await projections.rebuild(name)
            say(f"{name} : refaite d’après {rebuilt[name]} faits.")
    return rebuilt


@contextmanager
def _answered(refused: str) -> Iterator[None]:
    """Say in French what the database answers, or that it does not."""
    try:
        yield
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise no_answer(error) from error
    except asyncpg.PostgresError as error:
        raise CommandRefusedError(refused, str(error)) from error

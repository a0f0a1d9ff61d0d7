"""Commands of an installation: bring the database's schema up to date, create the topics."""

import asyncio

import asyncpg
import typer

from cli.errors import CommandRefusedError
from cli.french import FrenchCommand, FrenchGroup
from cli.infrastructure import find_infrastructure, no_answer, require_broker
from cli.options import AsJson, DataOption, environ
from cli.output import emit, reporting, say
from shared.bus.kafka import create_topics
from shared.bus.topics import TOPICS
from shared.errors import PesError
from shared.journal.schema import migrate

database = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="La base de données.")
topics = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Les topics Kafka.")


@database.command("migrate", cls=FrenchCommand)
def migrate_database(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Met le schéma de la base à jour (DATABASE_URL : un rôle qui peut créer des tables). Se relance sans risque."""
    with reporting(as_json=as_json):
        url = find_infrastructure(environ(), data).database_url
        try:
            applied = asyncio.run(migrate(url))
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            raise no_answer(error) from error
        except asyncpg.PostgresError as error:
            raise CommandRefusedError("La base a refusé la mise à jour", str(error)) from error
        if as_json:
            emit({"applied": applied})
        else:
            say(f"Appliqué : {', '.join(applied)}." if applied else "Le schéma est à jour.")


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
        if as_json:
            emit({"created": created})
        else:
            say(f"Créés : {', '.join(created)}." if created else "Tous les topics existent.")

"""What an operator does at the database: give back messages set aside, make projections again."""

import json
from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from cli.errors import ExitCode
from cli.main import app
from shared.facts.collectivite import CollectiviteOpened, PolicySet
from shared.facts.envelope import Event, new_id
from shared.facts.platform import MessageReleased
from shared.facts.streams import collectivite_stream, platform_stream
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from tests import examples as an
from tests.conftest import TestDatabase
from tests.finishing import finish
from tests.recording import begun

PARKED = """
insert into parked (parked_id, consumer_group, index, kind, body, error)
values ('00000000-0000-0000-0000-000000000017', 'validation', 1, 'flux.imported.v9', '{}', 'unreadable')
"""
PARKED_ID = "00000000-0000-0000-0000-000000000017"
RELEASE = ("bus", "parked", "release")
NOW = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


def heliotrope(database: TestDatabase, *arguments: str, role: str = "postgres") -> Result:
    return CliRunner().invoke(app, list(arguments), env={"DATABASE_URL": database.dsn(role), "BUS": "postgres"})


def executed(database: TestDatabase, statement: str) -> list[asyncpg.Record]:
    async def execute() -> list[asyncpg.Record]:
        async with Database(database.dsn()) as opened:
            return await opened.fetch(statement)

    return finish(execute())


def released(database: TestDatabase) -> list[Event]:
    async def load() -> list[Event]:
        async with Database(database.dsn()) as opened:
            return await PostgresHistory(opened).load(platform_stream("bus").id)

    return finish(load())


def test_a_message_is_released_with_its_author_and_its_reason(test_database: TestDatabase) -> None:
    executed(test_database, PARKED)
    unknown = str(new_id())
    reason = " Version\n0.2 "  # on one line, as the APIs write what people say
    done = heliotrope(test_database, *RELEASE, PARKED_ID, unknown, "--reason", reason, "--actor", "karima")
    assert done.exit_code == 1  # one of them is not there
    assert unknown in done.stderr
    (event,) = released(test_database)
    assert (event.actor, event.collectivite) == ("karima", "*")
    assert event.data == MessageReleased(
        group="validation", message_id=PARKED_ID, message_kind="flux.imported.v9", reason="Version 0.2"
    )
    (row,) = executed(test_database, "select released_at from parked")
    assert row["released_at"] is not None


@pytest.mark.parametrize(
    "said",
    [
        ("--reason", "x" * 501),
        ("--reason", "\n.."),
        ("--reason", "Version\x1b[2J 0.2"),
        ("--reason", "corrigé", "--actor", "karima\nolga"),
        ("--reason", "corrigé", "--actor", "k" * 256),
    ],
)
def test_what_could_not_be_kept_as_it_is_releases_nothing(test_database: TestDatabase, said: tuple[str, ...]) -> None:
    executed(test_database, PARKED)
    done = heliotrope(test_database, *RELEASE, PARKED_ID, *said)
    assert done.exit_code == ExitCode.USAGE
    assert released(test_database) == []
    (row,) = executed(test_database, "select released_at from parked")
    assert row["released_at"] is None


def test_the_fact_comes_before_the_release_and_names_the_account(test_database: TestDatabase) -> None:
    executed(test_database, PARKED)
    executed(
        test_database,
        "create trigger nothing_is_released before update on parked execute function refuse_change()",
    )
    done = heliotrope(test_database, *RELEASE, "--all", "--reason", "corrigé")
    assert isinstance(done.exception, asyncpg.InsufficientPrivilegeError)
    (event,) = released(test_database)
    assert "@" in event.actor


def test_a_projection_is_made_again_from_the_journal(test_database: TestDatabase) -> None:
    async def record() -> None:
        opened = begun(
            CollectiviteOpened(siren=an.collectivite, reason="essai"),
            stream=collectivite_stream(an.collectivite),
            collectivite=an.collectivite,
        )
        said = opened.follow(PolicySet(code="pes.siret", severity="warning", reason="essai"), actor="amina", at=NOW)
        async with Database(test_database.dsn()) as database:
            await PostgresHistory(database).append([opened, said], expected_version=0)

    finish(record())
    before = executed(test_database, "select * from control_policy")
    executed(test_database, "delete from control_policy")
    listed = json.loads(heliotrope(test_database, "projections", "list", "--json").stdout)["projections"]
    assert {"name": "policies", "kinds": ["policy.set.v1"], "tables": ["control_policy"]} in listed
    done = heliotrope(test_database, "projections", "rebuild", "policies", "packs", "--json")
    assert json.loads(done.stdout) == {"rebuilt": {"policies": 1, "packs": 0}}
    assert executed(test_database, "select * from control_policy") == before
    assert [row["code"] for row in before] == ["pes.siret"]
    done = heliotrope(test_database, "projections", "rebuild", "--json")
    assert list(json.loads(done.stdout)["rebuilt"]) == [one["name"] for one in listed]


@pytest.mark.parametrize(
    ("names", "role", "exit_code", "said"),
    [(["absent"], "postgres", 2, "Projection inconnue"), ([], "heliotrope_validation", 1, "La base a refusé")],
)
def test_a_projection_that_is_not_there_or_not_ones_own_is_not_made_again(
    test_database: TestDatabase, names: list[str], role: str, exit_code: int, said: str
) -> None:
    done = heliotrope(test_database, "projections", "rebuild", *names, role=role)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert said in done.stderr

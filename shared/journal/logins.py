"""Makes the database's logins what `shared.journal.grants` declares, at the end of each migration."""

import asyncpg

from shared.journal.grants import (
    SERVICES_WITH_A_LOGIN,
    WITH_ROW_POLICIES,
    Policy,
    grants_of,
    login_of,
    policies_of,
)

# A transaction left open holds back the order of the whole history.
_IDLE_IN_TRANSACTION = "idle_in_transaction_session_timeout"
_IDLE_IN_TRANSACTION_MAX = "10s"

# What PostgreSQL lets everybody do: nothing of it is needed. A temporary table could take the place of one of ours.
_FOR_NOBODY = (
    *(f"revoke all on all {things} in schema public from public" for things in ("tables", "sequences", "routines")),
    "revoke all on schema public from public",
)
_NO_TEMPORARY_TABLE = """
do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$
"""

_LOGINS = "select rolname, coalesce(rolconfig, '{}') as settings from pg_roles where rolname = any($1)"

_POLICIES = """
select tablename, policyname, array_to_string(roles, ', ') as login, cmd, qual, with_check
from pg_policies where schemaname = 'public'
"""

_WITHOUT_POLICIES = "select relname from pg_class where oid = any($1::text[]::regclass[]) and not relrowsecurity"


async def apply_grants(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Leave each login exactly what is declared, all at once for those who are connected.

    Privileges are given again each time: that locks no table. A row policy, which does, changes only if it differs.
    """
    async with connection.transaction():
        await _make_logins(connection)
        for statement in (*_FOR_NOBODY, _NO_TEMPORARY_TABLE):
            await connection.execute(statement)
        for service in SERVICES_WITH_A_LOGIN:
            for statement in grants_of(service):
                await connection.execute(statement)
        for row in await connection.fetch(_WITHOUT_POLICIES, WITH_ROW_POLICIES):
            await connection.execute(f"alter table {row['relname']} enable row level security")
        await _make_policies(connection)


async def _make_logins(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the logins that are missing, without a password: a deployment gives each its own."""
    logins = [login_of(service) for service in SERVICES_WITH_A_LOGIN]
    known = {row["rolname"]: row["settings"] for row in await connection.fetch(_LOGINS, logins)}
    for login in logins:
        if login not in known:
            await connection.execute(f"create role {login} login")
        if f"{_IDLE_IN_TRANSACTION}={_IDLE_IN_TRANSACTION_MAX}" not in known.get(login, ()):
            await connection.execute(f"alter role {login} set {_IDLE_IN_TRANSACTION} = '{_IDLE_IN_TRANSACTION_MAX}'")


async def _make_policies(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    wanted = {policy for service in SERVICES_WITH_A_LOGIN for policy in policies_of(service)}
    there = {Policy(**row) for row in await connection.fetch(_POLICIES)}
    for policy in there - wanted:
        await connection.execute(f'drop policy "{policy.policyname}" on "{policy.tablename}"')
    for policy in wanted - there:
        await connection.execute(policy.sql)

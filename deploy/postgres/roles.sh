#!/bin/sh
# Runs once, when the database is made: the logins that the services use, each with its own password, which never
# appears among a program's arguments. `heliotrope db migrate` finds the logins and grants each what it may do
# (shared/journal/sql/002_roles.sql).
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv service SERVICE_DB_PASSWORD
\getenv relay RELAY_DB_PASSWORD
\getenv history HISTORY_DB_PASSWORD
create role heliotrope_service login password :'service';
create role heliotrope_relay login password :'relay';
create role heliotrope_history login password :'history';
SQL

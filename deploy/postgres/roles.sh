#!/bin/sh
# Runs once, when the database is made: the logins that the services use, each with its own password.
# `heliotrope db migrate` finds them and grants each what it may do (shared/sql/002_roles.sql).
set -eu
psql -v ON_ERROR_STOP=1 -v service="$SERVICE_DB_PASSWORD" -v relay="$RELAY_DB_PASSWORD" \
  -v history="$HISTORY_DB_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create role heliotrope_service login password :'service';
create role heliotrope_relay login password :'relay';
create role heliotrope_history login password :'history';
SQL

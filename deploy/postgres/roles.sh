#!/bin/sh
# The logins that the services use, each with its own password, which never appears among a program's arguments. Runs
# when the database is made; run again, it makes those that are missing and gives each the password of the environment.
# `heliotrope db migrate` then leaves each what it may do (shared/journal/grants.py).
set -eu
for service in ingest validation signature gateway ack relay history; do
    variable="$(echo "$service" | tr '[:lower:]' '[:upper:]')_DB_PASSWORD"
    psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\getenv password $variable
select 'create role heliotrope_$service' where not exists (
    select from pg_roles where rolname = 'heliotrope_$service'
) \gexec
alter role heliotrope_$service login password :'password';
SQL
done

-- Schema packs that operators installed; the one that comes with the platform is in its code. An archive never
-- changes: another one has another id.
create table schema_pack (
    pack_id         text primary key,
    digest          text not null,
    archive         bytea not null,
    role            text not null check (role in ('active', 'shadow', 'inactive')),
    effective_from  date not null,
    effective_until date check (effective_until > effective_from),
    installed_at    timestamptz not null default now(),
    installed_by    text not null
);
grant select, insert, update (role, effective_from, effective_until) on schema_pack to heliotrope_service;

-- How serious a control is for a collectivité ('*': for all), where it is not its default. Every change stays; the
-- last one counts.
create table control_policy (
    position     bigint generated always as identity primary key,
    collectivite text not null,
    code         text not null,
    severity     text check (severity in ('blocking', 'warning')),
    reason       text not null,
    changed_by   text not null,
    changed_at   timestamptz not null default now()
);
create index control_policy_by_collectivite on control_policy (collectivite, code, position desc);
create trigger control_policy_is_append_only before update or delete or truncate on control_policy
    for each statement execute function refuse_change();
grant select, insert on control_policy to heliotrope_service;

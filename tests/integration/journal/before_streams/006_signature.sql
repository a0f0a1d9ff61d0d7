-- The registries of `signature`: who may sign (mandates), who takes which step (circuits), who stands in for whom
-- (delegations). Nothing is ever changed: what ends gets its end beside it, and the earliest end counts.

create table mandate (
    mandate_id         uuid primary key,
    collectivite       text not null,
    person             text not null,
    name               text not null,
    act                text not null,
    valid_from         timestamptz not null,
    valid_until        timestamptz check (valid_until > valid_from),
    -- The only certificate to sign with under it; empty for any.
    certificate_sha256 text not null default '' check (certificate_sha256 ~ '^([0-9a-f]{64})?$'),
    certificate_until  timestamptz,
    certificate_pem    text not null default '',
    -- Why an operator recorded it in place of the collectivité; empty when its administrator did.
    reason             text not null default '',
    recorded_by        text not null,
    recorded_at        timestamptz not null,
    check ((certificate_sha256 = '') = (certificate_until is null))
);
create index mandate_by_collectivite on mandate (collectivite, recorded_at);

create table mandate_end (
    position    bigint generated always as identity primary key,
    mandate_id  uuid not null references mandate (mandate_id),
    ended_at    timestamptz not null,
    reason      text not null,
    recorded_by text not null,
    recorded_at timestamptz not null default now()
);
create index mandate_end_by_mandate on mandate_end (mandate_id, ended_at, position);

-- The steps of a collectivité ('*': of all) for a kind of flux ('*': for all). The last one set counts; without steps, it
-- takes back what was set before.
create table circuit (
    position     bigint generated always as identity primary key,
    collectivite text not null,
    flux_kind    text not null check (flux_kind in ('*', 'depense', 'recette', 'mixte')),
    steps        jsonb not null check (jsonb_typeof(steps) = 'array'),
    reason       text not null,
    changed_by   text not null,
    changed_at   timestamptz not null
);
create index circuit_by_collectivite on circuit (collectivite, flux_kind, position desc);

create table delegation (
    delegation_id uuid primary key,
    collectivite  text not null,
    absent        text not null,
    substitute    text not null check (substitute <> absent),
    valid_from    timestamptz not null,
    valid_until   timestamptz not null check (valid_until > valid_from),
    reason        text not null,
    recorded_by   text not null,
    recorded_at   timestamptz not null
);
create index delegation_by_collectivite on delegation (collectivite, recorded_at);

create table delegation_end (
    position      bigint generated always as identity primary key,
    delegation_id uuid not null references delegation (delegation_id),
    ended_at      timestamptz not null,
    reason        text not null,
    recorded_by   text not null,
    recorded_at   timestamptz not null default now()
);
create index delegation_end_by_delegation on delegation_end (delegation_id, ended_at, position);

create trigger mandate_is_append_only before update or delete or truncate on mandate
    for each statement execute function refuse_change();
create trigger mandate_end_is_append_only before update or delete or truncate on mandate_end
    for each statement execute function refuse_change();
create trigger circuit_is_append_only before update or delete or truncate on circuit
    for each statement execute function refuse_change();
create trigger delegation_is_append_only before update or delete or truncate on delegation
    for each statement execute function refuse_change();
create trigger delegation_end_is_append_only before update or delete or truncate on delegation_end
    for each statement execute function refuse_change();
grant select, insert on mandate, mandate_end, circuit, delegation, delegation_end to heliotrope_service;

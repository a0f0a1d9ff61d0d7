-- What was said of controls and of packs is said by facts; these tables follow from them.

-- The files of schema packs, under their digest: bytes that facts name, written before them and never changed.
create table schema_archive (
    digest  text primary key check (digest ~ '^[0-9a-f]{64}$'),
    archive bytea not null
);
insert into schema_archive select distinct on (digest) digest, archive from schema_pack order by digest, installed_at;
create trigger schema_archive_is_append_only before update or delete or truncate on schema_archive
    for each statement execute function refuse_change();
grant select, insert on schema_archive to heliotrope_service;

revoke insert, update, update (role, effective_from, effective_until) on schema_pack from heliotrope_service;
alter table schema_pack drop column archive;
alter table schema_pack rename column role to use;

create function project_packs(fact journal) returns void language sql as $$
    insert into schema_pack (pack_id, digest, use, effective_from, effective_until, installed_at, installed_by)
    select event #>> '{data,pack,pack_id}', event #>> '{data,pack,digest}', event #>> '{data,use}',
        (event #>> '{data,effective_from}')::date, (event #>> '{data,effective_until}')::date,
        (event ->> 'occurred_at')::timestamptz, event ->> 'actor'
    from (select fact.body::jsonb as event) as read where fact.kind = 'pack.installed.v1'
    on conflict (pack_id) do nothing;

    update schema_pack
    set use = data ->> 'use', effective_from = (data ->> 'effective_from')::date,
        effective_until = (data ->> 'effective_until')::date
    from (select fact.body::jsonb -> 'data' as data) as read
    where fact.kind = 'pack.changed.v1' and pack_id = data ->> 'pack_id';
$$;
call add_projection('packs', array['pack.installed.v1', 'pack.changed.v1'], array['schema_pack'], 'project_packs');

-- The position is the fact's own from now on: the last one counts.
revoke insert on control_policy from heliotrope_service;
drop trigger control_policy_is_append_only on control_policy;
alter table control_policy alter column position drop identity;

create function project_policies(fact journal) returns void language sql as $$
    insert into control_policy (position, collectivite, code, severity, reason, changed_by, changed_at)
    select fact.position, fact.collectivite, event #>> '{data,code}', event #>> '{data,severity}',
        event #>> '{data,reason}', event ->> 'actor', (event ->> 'occurred_at')::timestamptz
    from (select fact.body::jsonb as event) as read
    on conflict (position) do nothing;
$$;
call add_projection('policies', array['policy.set.v1'], array['control_policy'], 'project_policies');

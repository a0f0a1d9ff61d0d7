-- What administrators and operators decide about signatures is said by facts; the registries follow from them
-- (docs/decisions/0021). Whoever reads them sees no difference; nobody but the journal writes them.

revoke insert on mandate, mandate_end, circuit, delegation, delegation_end from heliotrope_service;
drop trigger mandate_is_append_only on mandate;
drop trigger mandate_end_is_append_only on mandate_end;
drop trigger circuit_is_append_only on circuit;
drop trigger delegation_is_append_only on delegation;
drop trigger delegation_end_is_append_only on delegation_end;

-- Nobody read it, and its subject may hold an e-mail address.
alter table mandate drop column certificate_pem;

-- A position is the fact's own from now on; the rows that are there keep their order, before it.
alter table mandate_end alter column position drop identity, alter column recorded_at drop default;
alter table circuit alter column position drop identity;
alter table delegation_end alter column position drop identity, alter column recorded_at drop default;
update mandate_end set position = position - (select max(position) from mandate_end);
update circuit set position = position - (select max(position) from circuit);
update delegation_end set position = position - (select max(position) from delegation_end);

-- Who chose the seal, or left it, last ('*': for all those that said nothing of it).
create table seal_choice (
    collectivite text primary key,
    has_seal     boolean not null,
    reason       text not null,
    changed_by   text not null,
    changed_at   timestamptz not null
);
grant select on seal_choice to heliotrope_service;

-- What a fact says, who said it and when.
create function told(fact journal, out data jsonb, out actor text, out occurred_at timestamptz)
language sql stable as $$
    select event -> 'data', event ->> 'actor', (event ->> 'occurred_at')::timestamptz
    from (select fact.body::jsonb as event) as read
$$;

create function project_mandates(fact journal) returns void language sql as $$
    insert into mandate (mandate_id, collectivite, person, name, act, valid_from, valid_until, certificate_sha256,
        certificate_until, reason, recorded_by, recorded_at)
    select (data ->> 'mandate_id')::uuid, fact.collectivite, data ->> 'person', data ->> 'name', data ->> 'act',
        (data ->> 'valid_from')::timestamptz, (data ->> 'valid_until')::timestamptz, data ->> 'certificate_sha256',
        (data ->> 'certificate_until')::timestamptz, data ->> 'reason', actor, occurred_at
    from told(fact) where fact.kind = 'mandate.granted.v1'
    on conflict (mandate_id) do nothing;

    insert into mandate_end (position, mandate_id, ended_at, reason, recorded_by, recorded_at)
    select fact.position, (data ->> 'mandate_id')::uuid, (data ->> 'ended_at')::timestamptz, data ->> 'reason', actor,
        occurred_at
    from told(fact) where fact.kind = 'mandate.ended.v1'
    on conflict (position) do nothing;
$$;

create function project_circuits(fact journal) returns void language sql as $$
    insert into circuit (position, collectivite, flux_kind, steps, reason, changed_by, changed_at)
    select fact.position, fact.collectivite, data ->> 'flux_kind', data -> 'steps', data ->> 'reason', actor, occurred_at
    from told(fact)
    on conflict (position) do nothing;
$$;

create function project_delegations(fact journal) returns void language sql as $$
    insert into delegation (delegation_id, collectivite, absent, substitute, valid_from, valid_until, reason,
        recorded_by, recorded_at)
    select (data ->> 'delegation_id')::uuid, fact.collectivite, data ->> 'absent', data ->> 'substitute',
        (data ->> 'valid_from')::timestamptz, (data ->> 'valid_until')::timestamptz, data ->> 'reason', actor,
        occurred_at
    from told(fact) where fact.kind = 'delegation.given.v1'
    on conflict (delegation_id) do nothing;

    insert into delegation_end (position, delegation_id, ended_at, reason, recorded_by, recorded_at)
    select fact.position, (data ->> 'delegation_id')::uuid, (data ->> 'ended_at')::timestamptz, data ->> 'reason',
        actor, occurred_at
    from told(fact) where fact.kind = 'delegation.ended.v1'
    on conflict (position) do nothing;
$$;

create function project_seals(fact journal) returns void language sql as $$
    insert into seal_choice (collectivite, has_seal, reason, changed_by, changed_at)
    select fact.collectivite, fact.kind = 'seal.chosen.v1', data ->> 'reason', actor, occurred_at from told(fact)
    on conflict (collectivite) do update
    set has_seal = excluded.has_seal, reason = excluded.reason, changed_by = excluded.changed_by,
        changed_at = excluded.changed_at;
$$;

call add_projection(
    'mandates', array['mandate.granted.v1', 'mandate.ended.v1'], array['mandate', 'mandate_end'], 'project_mandates'
);
call add_projection('circuits', array['circuit.set.v1'], array['circuit'], 'project_circuits');
call add_projection(
    'delegations', array['delegation.given.v1', 'delegation.ended.v1'], array['delegation', 'delegation_end'],
    'project_delegations'
);
call add_projection('seals', array['seal.chosen.v1', 'seal.left.v1'], array['seal_choice'], 'project_seals');

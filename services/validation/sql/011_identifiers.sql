-- Who the collectivités are: what follows from the facts of their streams (shared/facts/collectivite.py).
create table collectivite (
    siren     text primary key,
    name      text not null,
    state     text not null,
    -- The one that it chose; empty when it chose none. `gateway` reads it.
    channel   text not null default '',
    opened_at timestamptz not null
);
create table identifier (
    siren         text not null references collectivite,
    identifier    jsonb not null,
    registered_at timestamptz not null,
    registered_by text not null,
    reason        text not null,
    primary key (siren, identifier)
);
grant select on collectivite, identifier to heliotrope_service;

create function project_identifiers(fact journal) returns void language plpgsql as $$
declare
    event jsonb := fact.body::jsonb;
    data jsonb := event -> 'data';
    at timestamptz := (event ->> 'occurred_at')::timestamptz;
begin
    case fact.kind
    when 'collectivite.opened.v1' then
        insert into collectivite (siren, name, state, opened_at)
        values (fact.collectivite, data ->> 'name', 'open', at)
        on conflict (siren) do nothing;
    when 'identifier.registered.v1' then
        insert into identifier (siren, identifier, registered_at, registered_by, reason)
        values (fact.collectivite, data -> 'identifier', at, event ->> 'actor', data ->> 'reason')
        on conflict (siren, identifier) do nothing;
    when 'identifier.withdrawn.v1' then
        delete from identifier
        where identifier.siren = fact.collectivite and identifier.identifier = data -> 'identifier';
    when 'channel.chosen.v1' then
        update collectivite set channel = data ->> 'channel' where siren = fact.collectivite;
    end case;
end $$;
call add_projection(
    'identifiers',
    array['collectivite.opened.v1', 'identifier.registered.v1', 'identifier.withdrawn.v1', 'channel.chosen.v1'],
    array['collectivite', 'identifier'],
    'project_identifiers'
);
-- What came before this step: the journal may hold such facts already.
select rebuild_projection('identifiers');

-- The replies of DGFiP that belonged to no flux when they came, and what was decided of each since.
create table reply_view (
    reply_id    uuid primary key,
    received_at timestamptz not null,
    remote_name text not null,
    nomfic      text not null,
    verdict     text,
    sha256      text not null,
    -- Why it belongs to no flux, in French.
    reason      text not null default '',
    state       text not null default 'waiting' check (state in ('waiting', 'linked', 'dismissed')),
    flux_id     uuid,
    decided_by  text not null default '',
    decided_at  timestamptz,
    decision    text not null default ''
);
create index reply_view_by_state on reply_view (state, reply_id desc);
grant select on reply_view to heliotrope_service;

create function project_replies(fact journal) returns void language plpgsql as $$
declare
    event jsonb := fact.body::jsonb;
    data  jsonb := event -> 'data';
begin
    if fact.kind = 'reply.received.v1' and fact.version = 1 then  -- further on, it is a fact about a flux
        insert into reply_view (reply_id, received_at, remote_name, nomfic, verdict, sha256)
        values (fact.stream_id, (event ->> 'occurred_at')::timestamptz, data ->> 'remote_name',
            coalesce(data ->> 'nomfic', ''), data ->> 'verdict', data #>> '{document,sha256}')
        on conflict do nothing;
    elsif fact.kind = 'reply.unmatched.v1' then
        update reply_view set reason = data ->> 'reason' where reply_id = fact.stream_id;
    elsif fact.kind in ('reply.linked.v1', 'reply.dismissed.v1') then
        update reply_view
        set state = case fact.kind when 'reply.linked.v1' then 'linked' else 'dismissed' end,
            flux_id = (data ->> 'flux_id')::uuid, decision = data ->> 'reason',
            decided_by = event ->> 'actor', decided_at = (event ->> 'occurred_at')::timestamptz
        where reply_id = fact.stream_id;
    end if;
end $$;

call add_projection(
    'replies',
    array['reply.received.v1', 'reply.unmatched.v1', 'reply.linked.v1', 'reply.dismissed.v1'],
    array['reply_view'],
    'project_replies'
);
select rebuild_projection('replies');

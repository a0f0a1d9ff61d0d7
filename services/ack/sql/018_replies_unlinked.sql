-- A link that had no effect is undone: the reply waits again, and its reason says that too.
create or replace function project_replies(fact journal) returns void language plpgsql as $$
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
    elsif fact.kind = 'reply.unlinked.v1' then
        update reply_view
        set state = 'waiting', flux_id = null, decision = '', decided_by = '', decided_at = null,
            reason = concat_ws(' ', nullif(reason, ''), data ->> 'reason')
        where reply_id = fact.stream_id;
    end if;
end $$;

drop trigger journal_projects_replies on journal;
delete from projection where name = 'replies';
call add_projection(
    'replies',
    array['reply.received.v1', 'reply.unmatched.v1', 'reply.linked.v1', 'reply.unlinked.v1', 'reply.dismissed.v1'],
    array['reply_view'],
    'project_replies'
);

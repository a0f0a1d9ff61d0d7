-- The kind of step that a flux waits at, or was refused at: its list says « À viser » or « À signer » by it. Those that
-- are at a step already are read again, as skipped flux are.
alter table flux_view add column step text not null default '';
insert into flux_skipped (flux_id, index)
select flux_id, 0 from flux_view where state in ('to_sign', 'signature_refused')
on conflict (flux_id) do nothing;

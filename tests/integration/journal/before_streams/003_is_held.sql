-- A suspended sending must be seen in lists, where people look for what is stuck.
alter table flux_view add column is_held boolean not null default false;

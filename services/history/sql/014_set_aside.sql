-- A flux that this version cannot read to its end is listed as far as it can, and said to be set aside.
alter table flux_view add column is_set_aside boolean not null default false;

-- Flux whose facts `history` could not read, most often because a newer version had written them: its list is wrong
-- about them until a version that can read them tries again. `index` is that of the last fact that was seen.
create table flux_skipped (
    flux_id uuid primary key,
    index   bigint not null
);
grant select, insert, update, delete on flux_skipped to heliotrope_history;

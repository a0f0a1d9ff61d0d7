-- The journal: every fact, once, for ever. Source: the design, "The journal".

create table journal (
    position    bigint generated always as identity primary key,
    tx          xid8 not null default pg_current_xact_id(),
    flux_id     uuid not null,
    version     integer not null check (version > 0),
    event_id    uuid not null unique,
    collectivite text not null,
    kind        text not null,
    -- The canonical JSON (RFC 8785) of the whole event. An event is its bytes; the other columns serve to search.
    body        text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    unique (flux_id, version)
);
create index journal_by_transaction on journal (tx, position);
create index journal_by_kind on journal (kind, position);
-- A reply names the flux it answers by NomFic: `ack` looks for it here.
create index journal_by_nomfic on journal (((body::jsonb) #>> '{data,header,nomfic}'))
    where kind = 'flux.validated.v1';

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the journal is append-only: % on % is refused', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end $$;
create trigger journal_is_append_only before update or delete or truncate on journal
    for each statement execute function refuse_change();

create function announce_journal() returns trigger language plpgsql as $$
begin
    perform pg_notify('journal', '');
    return null;
end $$;
create trigger journal_is_announced after insert on journal
    for each statement execute function announce_journal();

-- The one history: dense, gap-free, final. Only `relay` writes it; everybody reads in this order.
create table journal_order (
    index    bigint primary key check (index > 0),
    position bigint not null unique references journal (position)
);
create trigger journal_order_is_append_only before update or delete or truncate on journal_order
    for each statement execute function refuse_change();

-- Names that only one flux may hold (shared/claims.py); taken in the transaction of the fact that takes them.
create table claim (
    scope   text not null,
    kind    text not null,
    value   text not null,
    flux_id uuid not null,
    primary key (scope, kind, value)
);
create index claim_by_flux on claim (flux_id);

-- How far the relay has published; one row per bus.
create table relay_cursor (
    bus   text primary key,
    index bigint not null
);

-- How far each consumer group has come on the embedded bus, shard by shard.
create table consumer_cursor (
    consumer_group text not null,
    shard          integer not null,
    index          bigint not null,
    primary key (consumer_group, shard)
);

-- Messages that a group could not read, kept until a person releases them (embedded bus).
create table parked (
    parked_id      uuid primary key,
    consumer_group text not null,
    index          bigint not null,
    kind           text not null,
    flux_id        uuid,
    body           text not null,
    error          text not null,
    parked_at      timestamptz not null default clock_timestamp(),
    released_at    timestamptz,
    unique (consumer_group, index)
);

-- What `history` shows in lists: the last known state of every flux. It can be emptied and made again.
create table flux_view (
    flux_id      uuid primary key,
    collectivite text not null,
    state        text not null,
    version      integer not null,
    filename     text not null,
    nomfic       text not null,
    cod_col      text not null,
    cod_bud      text not null,
    sha256       text not null,
    size         bigint not null,
    imported_at  timestamptz not null,
    updated_at   timestamptz not null
);
create index flux_view_by_collectivite on flux_view (collectivite, flux_id desc);
create index flux_view_by_state on flux_view (state, flux_id desc);

-- Projections: tables that follow from facts. Each is kept by one function, called for each fact of its kinds as it is
-- appended, in the same transaction: whoever reads after an append sees what follows from it. Nobody else writes them.

create table projection (
    name     text primary key,
    -- The kinds of facts it follows from.
    kinds    text[] not null,
    -- The tables it fills.
    tables   text[] not null,
    -- `function(journal)`: what one fact changes in them; it reads nothing but the fact and those tables.
    function text not null
);

-- Begins a projection: from now on each fact is projected as it comes. `rebuild_projection` takes in what is past.
create procedure add_projection(name text, kinds text[], tables text[], function text) language plpgsql as $$
begin
    insert into projection values (name, kinds, tables, function);
    execute format(
        'create trigger %I after insert on journal for each row when (new.kind = any (%L)) execute function project(%L)',
        'journal_projects_' || name, kinds, function
    );
end $$;

-- With the rights of the schema's owner: a service appends facts, and has no grant on what follows from them.
create function project() returns trigger language plpgsql security definer set search_path = public as $$
begin
    execute format('select %I($1)', tg_argv[0]) using new;
    return null;
end $$;

-- Makes a projection again from the journal. Those who read see the old rows until this commits, then the new ones;
-- those who append a fact of its kinds wait until then. Returns how many facts were projected.
create function rebuild_projection(wanted text) returns bigint language plpgsql as $$
declare
    one projection;
    filled text;
    fact journal;
    count bigint := 0;
begin
    select * into strict one from projection where name = wanted;
    foreach filled in array one.tables loop
        execute format('lock table %I in exclusive mode', filled);
    end loop;
    for index in reverse array_length(one.tables, 1) .. 1 loop
        execute format('delete from %I', one.tables[index]);
    end loop;
    for fact in select * from journal where kind = any (one.kinds) order by position loop
        execute format('select %I($1)', one.function) using fact;
        count := count + 1;
    end loop;
    return count;
end $$;
revoke all on function rebuild_projection from public;

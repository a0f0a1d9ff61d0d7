-- What each kind of service may do. Nobody but the owner of the schema may change or delete a fact, and even the
-- owner is stopped by the triggers. Logins are granted these roles at deployment.
do $$
declare
    name text;
begin
    foreach name in array array['heliotrope_service', 'heliotrope_relay', 'heliotrope_history'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I login', name);
        end if;
        -- A transaction left open holds back the order of the whole history.
        execute format('alter role %I set idle_in_transaction_session_timeout = ''10s''', name);
        execute format('grant usage on schema public to %I', name);
        execute format('grant select on journal, journal_order, claim, consumer_cursor to %I', name);
    end loop;
end $$;

grant insert on journal, claim to heliotrope_service;
grant delete on claim to heliotrope_service;
grant select, insert, update on consumer_cursor to heliotrope_service;
grant select, insert, update, delete on parked to heliotrope_service;

grant insert on journal_order to heliotrope_relay;
grant select, insert, update on relay_cursor to heliotrope_relay;

grant select, insert, update, delete on flux_view to heliotrope_history;
grant select, insert, update on consumer_cursor to heliotrope_history;

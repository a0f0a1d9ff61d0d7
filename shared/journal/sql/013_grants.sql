-- From here on, what each service's login may do is declared in `shared/journal/grants.py`, which `migrate` applies at
-- the end of each run: no later step names a login. The one that services shared goes; where another database of the
-- server still knows it, it stays, without a right here.
do $$
begin
    if not exists (select from pg_roles where rolname = 'heliotrope_service') then
        return;
    end if;
    revoke all on all tables in schema public from heliotrope_service;
    revoke all on schema public from heliotrope_service;
    begin
        drop role heliotrope_service;
    exception when dependent_objects_still_exist or insufficient_privilege then
        raise notice 'heliotrope_service stays: another database knows it, or it is not ours to drop';
    end;
end $$;

-- It runs with the rights of the schema's owner: a table of whoever appends must never stand in for ours.
alter function project() set search_path = public, pg_temp;

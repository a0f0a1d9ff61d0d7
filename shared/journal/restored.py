"""A journal that was restored from a dump: its facts carry the transactions of the server they were written on.

The order of the history follows `(tx, position)`, and goes on from the last fact that has an index. A server that was
made anew counts transactions from the start: what is appended there would come *before* what was restored, and would
never be ordered: services would hear of nothing any more, without an error. So what was restored is said to come from
before all transactions: facts that have their index first, then the others.
"""

import asyncpg

# Nobody appends between the question and the answer.
_LOCK = "lock table journal in share row exclusive mode"

# Whether facts are of a transaction that this server has not come to yet; read at the end of an index.
_IS_RESTORED = """
select exists (select from journal where tx >= pg_snapshot_xmax(pg_current_snapshot()))
"""

# The facts themselves stay as they are: this is the one column that is not of them.
_REBASE = """
alter table journal disable trigger journal_is_append_only;
update journal set tx = case
    when exists (select from journal_order o where o.position = journal.position) then '1'::xid8 else '2'::xid8
end;
alter table journal enable trigger journal_is_append_only;
"""


async def rebase(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Have a journal that was restored go on from where it was, inside a transaction of the owner of the schema.

    Returns:
        Whether it was restored from another server. It then takes as long as writing the journal again.
    """
    await connection.execute(_LOCK)
    if not await connection.fetchval(_IS_RESTORED):
        return False
    await connection.execute(_REBASE)
    return True

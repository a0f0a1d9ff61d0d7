-- The journal holds streams of several kinds, not flux alone (shared/facts/streams.py). Names say so; no row changes.
alter table journal rename column flux_id to stream_id;
alter table journal rename constraint journal_flux_id_version_key to journal_stream_id_version_key;
alter table parked rename column flux_id to stream_id;

-- Names that only one stream may hold (shared/facts/reservations.py).
alter table claim rename to reservation;
alter table reservation rename column flux_id to stream_id;
alter table reservation rename constraint claim_pkey to reservation_pkey;
alter index claim_by_flux rename to reservation_by_stream;
-- A NomFic is a name of its collectivité: nobody else can take it.
update reservation set scope = journal.collectivite
from journal
where reservation.kind = 'nomfic' and reservation.scope = 'dgfip'
  and journal.stream_id = reservation.stream_id and journal.version = 1;

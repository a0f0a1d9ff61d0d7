-- A flux is found by the name that its header says, and by the digest of its file.
create index flux_view_by_nomfic on flux_view (nomfic, flux_id desc);
create index flux_view_by_sha256 on flux_view (sha256, flux_id desc);

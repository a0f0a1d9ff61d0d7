-- In which dialect a message was that a version could not take in, which is what it read: one of another dialect takes
-- the message up by itself. Empty for what was parked before dialects, which any takes up.
alter table parked add column dialect text not null default '';

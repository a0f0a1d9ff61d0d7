"""The SQL of the platform, as SQL: the schema in numbered files, applied in order by `shared.journal.schema`."""

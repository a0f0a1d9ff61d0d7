"""The journal in PostgreSQL, as services load, append and follow it."""

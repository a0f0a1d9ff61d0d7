"""Tests against the real parts: PostgreSQL, Kafka and SFTP, started from fixtures."""

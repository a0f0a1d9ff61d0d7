"""Tests that need no database, broker or SFTP server: decisions, rules, wording, what the repository holds."""

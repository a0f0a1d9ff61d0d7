"""The signature library."""

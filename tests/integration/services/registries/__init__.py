"""The registries of signatures for real, through their API."""

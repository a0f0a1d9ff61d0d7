"""The services: each its own process, none importing another."""

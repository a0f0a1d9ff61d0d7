"""The PES library."""

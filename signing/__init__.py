"""Signatures on a PES as a library: their form, their verification, who vouches for them, and how they are made."""

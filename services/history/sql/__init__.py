"""The tables that only `history` uses; applied with the journal's, in the order of their numbers."""

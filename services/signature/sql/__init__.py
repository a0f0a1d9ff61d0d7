"""The tables that only `signature` uses; applied with the journal's, in the order of their numbers."""

"""The tables that only `validation` uses; applied with the journal's, in the order of their numbers."""

"""Shows the history of every flux: consumes the journal in order, records nothing but its own read models."""

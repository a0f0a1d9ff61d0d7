"""Orders and publishes: consumes the journal, records the place of each fact in the one history."""

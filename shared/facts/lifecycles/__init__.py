"""Which fact may follow which, for each kind of stream but the flux, whose own table is `shared.facts.lifecycle`."""

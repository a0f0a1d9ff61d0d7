"""Which fact may follow which, for each kind of stream: a table of states, and what the facts come to."""

"""Signs flux and verifies them; consumes flux.validated, records what is to be signed, is signed, or cannot be."""

"""How the command line shows things: in French, as tables and timelines, or as JSON."""

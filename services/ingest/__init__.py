"""Takes in the files that collectivités send over HTTP: consumes nothing, records FluxImported, FluxCancelled."""

"""Judges imported flux before DGFiP does: consumes FluxImported, records FluxValidated or FluxInvalidated."""

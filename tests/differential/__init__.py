"""Our schema pack against DGFiP's own: documents made from the schemas, then damaged; both must agree on each."""

"""Sends flux to DGFiP, none twice: consumes what makes one ready, records its transmission."""

"""Signs each bordereau.

Consumes flux.validated; records SignatureRequested, FluxSigned, SignaturesRejected.
"""

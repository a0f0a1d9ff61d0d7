"""Signs each bordereau.

Consumes flux.validated; records SignatureRequested, BordereauxSigned, FluxSigned, SignaturesRejected.
"""

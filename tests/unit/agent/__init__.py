"""The signatory's agent: who may speak to it, what it shows, and that it signs nothing else."""

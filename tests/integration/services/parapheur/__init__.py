"""The parapheur for real, through its API."""

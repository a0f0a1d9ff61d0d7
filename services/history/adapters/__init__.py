"""The outside parties of `history`."""

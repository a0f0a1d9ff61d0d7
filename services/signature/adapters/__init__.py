"""The outside parties of `signature`."""

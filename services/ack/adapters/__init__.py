"""The outside parties of `relay`."""

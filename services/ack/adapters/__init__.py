"""The outside parties of `ack`."""

"""The `signature` service, without what lies outside it."""

"""Commands of those who send, sign and follow flux."""

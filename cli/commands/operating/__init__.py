"""Commands of those who run a platform, whole or on one machine."""

"""The platform on one machine, without starting it."""

"""The services, with the real parts that they touch."""

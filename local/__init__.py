"""The platform on one machine, without a container: its parts, its keys, and what starts and stops them."""

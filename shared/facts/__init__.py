"""Every fact that can be recorded, what surrounds it, and which may follow which."""

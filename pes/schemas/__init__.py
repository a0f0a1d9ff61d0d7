"""Schema packs, and what a document must be to satisfy one."""

"""What services agree on."""

"""What must stay secret on the local platform, and what vouches for it: tokens, passwords, certificates."""

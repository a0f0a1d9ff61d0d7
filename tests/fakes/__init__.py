"""Stand-ins that work: each passes the same tests as what it stands for."""

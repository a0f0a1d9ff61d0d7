"""The command line: runs the platform on one machine, feeds it, and shows what it does."""

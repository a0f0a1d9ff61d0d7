"""The same tests, run against a stand-in and against the real thing."""

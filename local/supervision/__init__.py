"""Supervision: every program of the platform is a child of supervisord, which starts again whatever dies.

Theory of operation. `program.configuration` writes what supervisord must know, as text. `supervisor.Supervisor`
launches it, apart from the terminal so that Ctrl-C reaches whoever holds the platform and not thirty processes at
once, and talks to it over a UNIX socket. Groups stop in the reverse order of their rank: SIGTERM to supervisord stops
the services, then the bus, then PostgreSQL.
"""

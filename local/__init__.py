"""The parts of the platform that run on this machine without a container: Kafka and PostgreSQL."""

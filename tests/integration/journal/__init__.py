"""The journal, its one order, and how it reaches who listens: PostgreSQL and Kafka."""

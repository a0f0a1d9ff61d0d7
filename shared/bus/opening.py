"""Chooses the bus: `BUS=postgres` (embedded) or `BUS=kafka`. Nothing else in the code knows which one runs."""

from shared.bus.kafka import KafkaBus, KafkaParkedMessages
from shared.bus.postgres import PostgresBus, PostgresParkedMessages
from shared.journal.postgres import Database


def open_bus(kind: str, *, database: Database, dsn: str, bootstrap: str) -> PostgresBus | KafkaBus:
    """Return the bus that the settings name; nothing is connected yet."""
    return KafkaBus(bootstrap) if kind == "kafka" else PostgresBus(database, dsn)


def open_parked(kind: str, *, database: Database, bootstrap: str) -> PostgresParkedMessages | KafkaParkedMessages:
    """Return the parked messages of that bus."""
    return KafkaParkedMessages(bootstrap) if kind == "kafka" else PostgresParkedMessages(database)

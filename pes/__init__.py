"""The PES as a library: reads it, judges it, says what it contains. It knows no service, no database, no network."""

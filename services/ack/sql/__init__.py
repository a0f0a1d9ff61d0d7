"""The tables that only `ack` uses: steps of the one schema."""

"""State in TimescaleDB: what a batch changes, and its position, in one transaction."""

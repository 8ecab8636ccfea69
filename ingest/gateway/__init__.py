"""How do bytes from outside reach the log? The shell around `ingest.decode`."""

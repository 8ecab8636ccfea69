"""`ioc replay`: recorded and simulated events, sent in through the same door as live ones."""

"""What does a sender's message mean? Pure functions from bytes to events."""

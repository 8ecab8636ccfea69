"""The pure part: batches in, what to write out. No I/O, no clock."""

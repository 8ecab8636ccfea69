"""What everything means: values, codecs, topics, errors, SQL. Imports nothing of ours and does no I/O."""

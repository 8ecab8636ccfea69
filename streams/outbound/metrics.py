"""What does the sending process say of itself?"""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20)

SENT = Counter("ioc_outbound_sent_total", "Messages that a receiver has taken.", ["channel"])
FAILURES = Counter("ioc_outbound_failures_total", "Attempts that came to nothing.", ["channel", "outcome"])
SEND_S = Histogram("ioc_outbound_send_seconds", "How long an attempt took.", ["channel"], buckets=_LATENCY_S)
WAITING = Gauge("ioc_outbound_waiting", "Messages that wait to be sent.")
GIVEN_UP = Gauge("ioc_outbound_given_up", "Messages that are not tried again until somebody asks for it.")
OLDEST_S = Gauge("ioc_outbound_oldest_seconds", "For how long the oldest waiting message has been waiting.")
DATABASE_UP = Gauge("ioc_outbound_database_up", "1 while the database answers.")
REPORTS = Counter("ioc_outbound_reports_total", "Reports that were due, by what came of it.", ["outcome"])
"""`outcome` is `made`, `made_open` (its period had not closed) or `failed` (tried again)."""

RECEIPTS = Counter("ioc_outbound_receipts_total", "What channels said of messages.", ["channel", "status"])
"""`status` is what was said, `ignored` (said before, or of another's message) or `unreadable`."""

DEAD_ENDS = Counter("ioc_outbound_dead_ends_total", "Messages about cases that were given up.", ["channel"])

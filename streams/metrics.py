"""What does a worker say of itself?"""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_SIZES = (1, 10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)

RECORDS = Counter("ioc_streams_records_total", "Records taken off the log.", ["topic"])
COUNTED = Counter("ioc_streams_events_counted_total", "Events counted and committed.", ["topic"])
DUPLICATES = Counter("ioc_streams_duplicates_total", "Events that had been counted before.", ["topic"])
DEAD = Counter("ioc_streams_dead_letters_total", "Records that cannot be counted.", ["topic", "reason"])
SKIPPED = Counter("ioc_streams_redelivered_total", "Records below the stored position, delivered again.", ["topic"])
BATCH = Histogram("ioc_streams_batch_records", "Records in a transaction.", ["topic"], buckets=_SIZES)
COMMIT_S = Histogram(
    "ioc_streams_commit_seconds", "From the start of a transaction to its commit.", buckets=_LATENCY_S
)
EVENT_TO_COMMIT_S = Histogram(
    "ioc_streams_event_to_commit_seconds",
    "From the log's time of a batch's newest record to its commit.",
    ["topic"],
    buckets=_LATENCY_S,
)
LAG_RECORDS = Gauge("ioc_streams_lag_records", "Records on the log that are not counted.", ["topic", "partition"])
LAG_S = Gauge(
    "ioc_streams_lag_seconds", "Age of the newest counted record when it was committed.", ["topic", "partition"]
)
BUSY_S = Gauge("ioc_streams_busy_seconds", "How long the slowest lane has been at its batch.")
RETRIES = Counter("ioc_streams_retries_total", "Transactions tried again.", ["dependency"])
DATABASE_UP = Gauge("ioc_streams_database_up", "1 while transactions commit, 0 while they are being tried again.")
KAFKA_UP = Gauge("ioc_streams_kafka_up", "1 while the broker answers.")
SITE_UNREADABLE = Gauge(
    "ioc_streams_site_unreadable", "1 while the newest registered site pack is one that this release cannot read."
)
HALTED = Gauge("ioc_streams_halted", "1 once the worker has stopped on a broken invariant.", ["reason"])
REMEMBERED = Gauge("ioc_streams_dedupe_ids", "Ids remembered for dedupe within the horizon.")
FORGOTTEN = Counter("ioc_streams_dedupe_forgotten_total", "Ids forgotten before the horizon because of the bound.")
POSITION_MOVED = Counter(
    "ioc_streams_positions_moved_total", "Batches started again because another worker had moved on."
)
CAUGHT_UP = Counter("ioc_streams_caught_up_total", "Batches before which records left out were read from the log.")
COMPACTED = Counter("ioc_streams_compacted_total", "Closed buckets whose rows were merged into one.", ["tier"])
PUT_TOGETHER = Counter(
    "ioc_streams_put_together_total", "Times that what places said last was added up for a base and an area."
)
DECIDED = Counter(
    "ioc_streams_decided_total", "Events about cases that were decided, by what came of it.", ["outcome"]
)
"""`outcome` is `applied`, or why it was refused."""
DEADLINES = Counter("ioc_streams_deadlines_total", "Deadlines of cases that became commands.")
DEADLINE_LATE_S = Histogram(
    "ioc_streams_deadline_late_seconds", "From when a deadline was due to when it was noticed.", buckets=_LATENCY_S
)
PERSONAL_UNOPENED = Counter(
    "ioc_streams_personal_unopened_total", "Personal parts that this worker has no key for, kept sealed as they came."
)
CHUNKS_DROPPED = Counter("ioc_streams_chunks_dropped_total", "Chunks dropped because of their age.", ["tier"])
CHUNKS_KEPT = Gauge("ioc_streams_chunks_kept", "Chunks that are too old and cannot be dropped.", ["tier"])
MAINTENANCE_FAILED = Counter("ioc_streams_maintenance_failed_total", "Looks after the tables that failed.")

"""What does the gateway count?

Labels take only values of ours (event types, reasons, statuses, modes): a sender cannot add a series.
"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)

ACCEPTED = Counter("ioc_ingest_events_accepted", "Events acknowledged by Kafka.", ["type"])
REFUSED = Counter("ioc_ingest_events_refused", "Events, or whole bodies, refused at the door.", ["reason"])
COMMANDS = Counter("ioc_ingest_commands_accepted", "Commands acknowledged by Kafka.", ["action"])
COMMAND_SOCKETS = Gauge("ioc_ingest_command_sockets", "Sockets on which commands are given.")
REPORTS = Counter("ioc_ingest_reports_accepted", "Citizens' reports acknowledged by Kafka.")
REQUESTS = Counter("ioc_ingest_requests", "Requests answered.", ["status"])
REFUSED_TOKENS = Counter("ioc_ingest_refused_tokens", "Requests whose sign-in did not hold.", ["reason"])
REQUEST_SECONDS = Histogram(
    "ioc_ingest_request_seconds", "From a request's first byte to its answer.", buckets=_SECONDS
)
ACK_SECONDS = Histogram(
    "ioc_ingest_ack_seconds", "From sending a batch to Kafka's acknowledgement.", buckets=_SECONDS
)
BATCH_EVENTS = Histogram("ioc_ingest_batch_events", "Events in a batch for one partition.", buckets=_EVENTS)
PENDING_BYTES = Gauge("ioc_ingest_pending_bytes", "Bytes of events that Kafka has not acknowledged.")
KAFKA_UP = Gauge("ioc_ingest_kafka_up", "1 while Kafka can be written to, else 0.")

"""How is the dashboard doing, in figures?

In the default registry of prometheus_client, which `deploy` serves.
"""

from prometheus_client import Counter, Gauge, Histogram

_FAST_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

CLIENTS = Gauge("ioc_dashboard_clients", "Live clients connected.")
REFUSED_CLIENTS = Counter("ioc_dashboard_refused_clients", "Live clients turned away.", ["reason"])
REFUSED_TOKENS = Counter("ioc_dashboard_refused_tokens", "Requests whose sign-in did not hold.", ["reason"])
CLOSED_SLOW_CLIENTS = Counter("ioc_dashboard_closed_slow_clients", "Live clients closed because they took nothing.")
MESSAGES_OUT = Counter("ioc_dashboard_messages_out", "Messages sent to live clients.")
SNAPSHOTS = Counter("ioc_dashboard_answers", "First answers to subscriptions, by kind.", ["kind"])
SHARED_ANSWERS = Counter(
    "ioc_dashboard_shared_answers", "Of these, taken from somebody who asked the same just before."
)
COMMIT_TO_SEND_S = Histogram(
    "ioc_dashboard_commit_to_send_seconds",
    "From a change's commit to its sending to all who show the same.",
    buckets=_FAST_S,
)
RECEIVED_TO_SEND_S = Histogram(
    "ioc_dashboard_received_to_send_seconds",
    "From an event's arrival to its sending to all who show the same.",
    buckets=_FAST_S,
)
FEED_LAG_S = Gauge("ioc_dashboard_feed_lag_seconds", "Age of the oldest committed change that is not shown yet.")
FEED_READ_S = Histogram("ioc_dashboard_feed_read_seconds", "Reading one batch of changes.", buckets=_FAST_S)
FEED_RESETS = Counter("ioc_dashboard_feed_resets", "Times all clients needed a new snapshot.", ["reason"])
WAITERS = Gauge("ioc_dashboard_waiters", "Requests that wait for a command's outcome.")
QUERY_S = Histogram("ioc_dashboard_query_seconds", "Waiting for and reading one answer.", ["query"], buckets=_FAST_S)
WORKERS = Gauge("ioc_dashboard_workers", "Stream workers heard within the hour, by state.", ["state"])
WORKER_STATES = ("starting", "counting", "halted", "silent")
DATABASE_UP = Gauge("ioc_dashboard_database_up", "1 while the database answers, else 0.")
